"""Kept pictures get their verdicts again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtgd_edge.bundle import Bundle
from dtgd_edge.pictures import write_picture
from dtgd_edge.runtime.inspector import Inspector
from dtgd_edge.runtime.records.archive import PictureArchive, PicturesConfig
from dtgd_edge.runtime.records.audit import AuditConfig, AuditSink
from dtgd_edge.runtime.records.digest import file_digest, pixels_digest
from dtgd_edge.runtime.records.log import AuditLog
from dtgd_edge.runtime.records.replay import Replay, Replayed, rows_with_pictures
from dtgd_edge.runtime.records.row import Judge
from dtgd_edge.runtime.source import Frame
from tests.cli.conftest import Cli, cli  # noqa: F401

GREYS = (128, 150, 30, 240, 0, 100)


def run(folder: Path, bundle: Path, shape: tuple[int, ...] = (48, 40, 3)) -> Path:
    """Judge noisy frames of several greys, and keep them all; the log."""
    noise = np.random.default_rng(0).integers(-3, 4, shape)
    archive = PictureArchive(PicturesConfig(str(folder / "pictures"), every_nth_ok=1, queue_frames=50))
    with Inspector.open(bundle, "ort") as inspector:
        judge = Judge.of(bundle, inspector.session.spec)
        with AuditSink(AuditConfig(str(folder / "audit.db")), judge, None, archive) as sink:
            for index, grey in enumerate(GREYS):
                image = np.clip(grey + noise * (grey > 0), 0, 255).astype(np.uint8)
                frame = Frame(image, index, name=f"{index}.png")
                sink.write(inspector.inspect(frame), frame)
    archive.close()
    return folder / "audit.db"


def replayed(log: Path, bundle: Path) -> list[Replayed]:
    opened = Bundle.open(bundle)
    with AuditLog(log) as reader:
        rows = list(rows_with_pictures(reader))
    with Inspector.open(bundle, "ort") as inspector:
        again = Replay(inspector.session, opened.manifest, file_digest(bundle), log.parent / "pictures")
        return [again.again(row) for row in rows]


@pytest.mark.parametrize("shape", [(48, 40, 3), (48, 40), (48, 40, 1), (48, 40, 4)])
def test_every_verdict_comes_out_the_same(
    tmp_path: Path, tiny_bundle_path: Path, shape: tuple[int, ...]
) -> None:
    found = replayed(run(tmp_path, tiny_bundle_path, shape), tiny_bundle_path)
    assert [one.outcome for one in found] == ["same"] * len(GREYS)
    assert [one.score for one in found] == [one.row.score for one in found]
    assert {one.row.decision for one in found} == {"OK", "NG", "NO_DECISION"}


def test_the_threshold_of_the_row_counts(tmp_path: Path, tiny_bundle_path: Path) -> None:
    log = run(tmp_path, tiny_bundle_path)
    with AuditLog(log) as reader:
        row = next(iter(rows_with_pictures(reader)))
    opened = Bundle.open(tiny_bundle_path)
    with Inspector.open(tiny_bundle_path, "ort") as inspector:
        again = Replay(
            inspector.session, opened.manifest, file_digest(tiny_bundle_path), log.parent / "pictures"
        )
        assert again.again(replace(row, threshold=0.001, decision="NG")).outcome == "same"
        moved = again.again(replace(row, score=(row.score or 0) + 0.1))
        assert moved.outcome == "differs" and "moved by 0.1" in moved.note
        frozen = replace(row, score=None, decision="NO_DECISION", reason="frozen: 5 times")
        assert again.again(frozen).outcome == "skipped"
        assert again.again(replace(frozen, reason="black: 0%")).outcome == "differs"
        outside = again.again(replace(row, picture="../../etc/passwd"))
        assert outside.outcome == "damaged" and "outside" in outside.note


def test_another_picture_is_not_taken_for_the_judged_one(tmp_path: Path, tiny_bundle_path: Path) -> None:
    log = run(tmp_path, tiny_bundle_path)
    first, second, third, *_ = (one.row.picture or "" for one in replayed(log, tiny_bundle_path))
    write_picture(tmp_path / "pictures" / first, np.full((48, 40, 3), 128, np.uint8))
    (tmp_path / "pictures" / second).unlink()
    (tmp_path / "pictures" / third).write_bytes(b"no picture")
    found = replayed(log, tiny_bundle_path)
    assert [one.outcome for one in found][:4] == ["damaged"] * 3 + ["same"]
    assert "does not show the frame" in found[0].note and "cannot be read" in found[1].note


def test_digests_tell_shape_and_depth_apart() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert pixels_digest(grey) == pixels_digest(grey[:, :, None])
    others = [grey.reshape(4, 3), grey.astype(np.uint16), np.dstack([grey] * 3), grey + 1]
    assert len({pixels_digest(image) for image in [grey, *others]}) == 5
    assert pixels_digest(grey[:, ::2]) == pixels_digest(grey[:, ::2].copy())


def test_the_replay_command(
    cli: Cli,  # noqa: F811
    tmp_path: Path,
    tiny_bundle: Bundle,
    tiny_bundle_path: Path,
) -> None:
    log = run(tmp_path, tiny_bundle_path)
    ended = cli("replay", log, "--workspace", tmp_path, "--backend", "ort")
    assert ended.code == 0 and "6 same" in ended.out and "tiny.dtgd" in ended.err
    stricter = replace(tiny_bundle.manifest.threshold, value=0.5)
    other = tmp_path / "elsewhere" / "stricter.dtgd"
    replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, threshold=stricter)).save(other)
    refused = cli("replay", log, "--bundle", other, "--backend", "ort")
    assert refused.code == 2 and "--allow-other-bundle" in refused.err and "tiny.dtgd" in refused.err
    told = cli("replay", log, "--bundle", other, "--backend", "ort", "--allow-other-bundle")
    assert told.code == 1 and "OK became NG" in told.out
    assert cli("replay", log, "--workspace", tmp_path / "elsewhere").code == 2


def test_the_audit_commands(cli: Cli, tmp_path: Path, tiny_bundle_path: Path) -> None:  # noqa: F811
    log = run(tmp_path, tiny_bundle_path)
    ended = cli("audit", "verify", log)
    assert ended.code == 0 and "whole; 9 rows, 6 verdicts" in ended.out and "no key" in ended.err
    shown = cli("audit", "show", log, "--rows", 3)
    assert shown.code == 0 and "run ended" in shown.out and "NO_DECISION" in shown.out
    only = cli("audit", "show", log, "--only", "NG", "--json")
    assert only.code == 0 and '"decision": "NG"' in only.out and '"decision": "OK"' not in only.out
    table = tmp_path / "out" / "log.csv"
    assert cli("audit", "export", log, "--csv", table).code == 0
    lines = table.read_text().splitlines()
    assert len(lines) == 10 and lines[0].startswith("time,sequence,kind,run")
    assert file_digest(tiny_bundle_path) in lines[3]
    log.with_name("audit.db.anchor").unlink()
    assert cli("audit", "verify", log).code == 1
    assert cli("audit", "verify", log, "--no-anchor").code == 0
    assert cli("audit", "verify", tmp_path / "none.db").code == 2


def test_a_spreadsheet_gets_no_formula(tmp_path: Path) -> None:
    from dtgd_edge.runtime.records.table import write_csv
    from tests.runtime.records.made import judged, opened

    with opened(tmp_path / "audit.db") as sink:
        sink.write(*judged(0, name="=cmd|x"))
    with AuditLog(tmp_path / "audit.db") as log:
        assert write_csv(log, tmp_path / "log.csv") == 4
    assert ",'=cmd|x," in (tmp_path / "log.csv").read_text()
