"""The `dtgd-edge` command: its sub-commands, and how errors end."""

import logging
import sys

import typer

from dtgd_edge.cli import (
    audit,
    bench,
    build,
    calibrate,
    data,
    demo,
    distil,
    doctor,
    evaluate,
    export,
    faults,
    info,
    line,
    peers,
    plan,
    promise,
    replay,
    run,
    sample,
    scale,
    soak,
    suite,
    train,
    verify,
)
from dtgd_edge.cli.console import ERR, exit_with
from dtgd_edge.errors import DtgdError

app = typer.Typer(
    name="dtgd-edge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Visual anomaly detection on production lines: from pictures of good parts to verdicts.",
)
app.command()(demo.demo)
app.command()(sample.sample)
app.command()(data.data)
app.command()(train.train)
app.command()(distil.distil)
app.command()(export.export)
app.command()(calibrate.calibrate)
app.command()(promise.promise)
app.command()(build.build)
app.command("eval")(evaluate.evaluate)
app.command()(run.run)
app.command()(line.line)
app.command()(verify.verify)
app.command()(info.info)
app.command()(doctor.doctor)
app.command()(bench.bench)
app.command()(peers.peers)
app.command()(plan.plan)
app.command()(scale.scale)
app.command()(suite.suite)
app.add_typer(audit.audit, name="audit")
app.command()(replay.replay)
app.command()(soak.soak)
app.command()(faults.faults)


def main() -> None:
    """Run the command line; a DtgdError ends as one sentence and its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for library in ("torch", "onnxscript", "onnx_ir", "matplotlib", "asyncua", "pymodbus"):
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        app()
    except DtgdError as error:
        exit_with(error)
    except KeyboardInterrupt:
        ERR.print("dtgd-edge: stopped")
        sys.exit(130)


if __name__ == "__main__":
    main()
