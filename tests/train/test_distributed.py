"""Several processes: they do what one does, they end together, and one of them speaks."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
import torch

from dtgd_edge.errors import ConfigError
from dtgd_edge.train import loop
from dtgd_edge.train.checkpoint import Checkpoint
from dtgd_edge.train.data import read_data
from dtgd_edge.train.distributed import World, joined, own_device
from dtgd_edge.train.loop import train
from dtgd_edge.train.recipe import Recipe

STEPS = 6
LIMIT_S = 240

# Float64 shows that two processes compute what one does: in float32 Adam's first steps, whose size does not
# depend on the gradient's, make as much of the last digit as of another convolution routine.
_TRAIN = """
import os, signal, sys
from pathlib import Path
import msgspec, torch
from dtgd_edge.cli.console import exit_with
from dtgd_edge.errors import DtgdError
from dtgd_edge.train import loop
from dtgd_edge.train.data import read_data
from dtgd_edge.train.recipe import Recipe

folder, what = Path(sys.argv[1]), sys.argv[2]
torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double
torch.cpu._is_avx512_bf16_supported = lambda: False
loop.MOST_DEFECTS = loop.MOST_FITTED = 4
losses, place, steps = loop.dtgd_losses, os.environ["RANK"], []

def watched(*arguments):
    steps.append(1)
    if what == "killed" and place == "1" and len(steps) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "interrupted" and place == "1" and len(steps) == 3:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    return losses(*arguments)

loop.dtgd_losses = watched
recipe = msgspec.json.decode((folder / "recipe.json").read_bytes(), type=Recipe)
seen = []
try:
    loop.train(read_data(Path((folder / "data.txt").read_text())), recipe, folder / "run", device="cpu",
               resume=what != "whole", report=seen.append, save_every_steps=1)
except DtgdError as error:
    exit_with(error)
print(msgspec.json.encode(seen).decode())
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def recipe(tiny_recipe: Recipe) -> Recipe:
    """Six steps of four pictures, in which the student and the teacher learn."""
    return replace(
        tiny_recipe,
        teacher=replace(tiny_recipe.teacher, variant="tuned"),
        optimiser=replace(tiny_recipe.optimiser, steps=STEPS, batch=4),
    )


@pytest.fixture(scope="module")
def two(pretend_data: Path, recipe: Recipe) -> Callable[[Path, str], list[Ended]]:
    """Train in a folder with two processes, started as torchrun would."""

    def run(folder: Path, what: str) -> list[Ended]:
        folder.mkdir(exist_ok=True)
        (folder / "recipe.json").write_bytes(msgspec.json.encode(recipe))
        (folder / "data.txt").write_text(str(pretend_data))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = {
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        started = [
            subprocess.Popen(
                [sys.executable, "-c", _TRAIN, str(folder), what],
                env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        try:
            texts = [process.communicate(timeout=LIMIT_S) for process in started]
        finally:
            for process in started:
                process.kill()
        return [Ended(process.returncode, *text) for process, text in zip(started, texts, strict=True)]

    return run


@pytest.fixture(scope="module")
def together(
    two: Callable[[Path, str], list[Ended]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Checkpoint, list[Ended]]:
    """Two processes, not interrupted."""
    folder = tmp_path_factory.mktemp("together")
    ended = two(folder, "whole")
    assert [process.code for process in ended] == [0, 0], ended
    return Checkpoint.open(folder / "run"), ended


def test_two_processes_equal_one(
    together: tuple[Checkpoint, list[Ended]],
    pretend_data: Path,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(loop, "MOST_DEFECTS", 4)
    monkeypatch.setattr(loop, "MOST_FITTED", 4)
    seen: list[loop.Progress] = []
    torch.set_default_dtype(torch.float64)
    try:
        alone = train(read_data(pretend_data), recipe, tmp_path, device="cpu", report=seen.append)
    finally:
        torch.set_default_dtype(torch.float32)
    checkpoint, (first, second) = together
    steps = json.loads(first.out)
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1)) and json.loads(second.out) == []
    for a, b in zip(seen, steps, strict=True):
        for term in ("loss", "consistency", "dissimilarity", "gate", "teacher"):
            assert getattr(a, term) == pytest.approx(b[term], rel=1e-5, abs=1e-9), (a, b)
    assert checkpoint.tensors.keys() == alone.tensors.keys()
    for name, value in alone.tensors.items():
        torch.testing.assert_close(checkpoint.tensors[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_stopped_killed_and_resumed_they_come_to_the_same_weights(
    together: tuple[Checkpoint, list[Ended]], two: Callable[[Path, str], list[Ended]], tmp_path: Path
) -> None:
    interrupted = two(tmp_path, "interrupted")
    assert [process.code for process in interrupted] == [0, 0], interrupted
    assert Checkpoint.open(tmp_path / "run").record.step == 3

    first, second = two(tmp_path, "killed")
    assert (first.code, second.code) == (2, -9), (first, second)
    (sentence,) = first.err.strip().splitlines()
    assert sentence.startswith("dtgd-edge: process 0 of 2 lost another one") and "--resume" in sentence
    assert Checkpoint.open(tmp_path / "run").record.step == 4

    resumed = two(tmp_path, "resumed")
    assert [step["step"] for step in json.loads(resumed[0].out)] == [5, 6]
    checkpoint, reference = Checkpoint.open(tmp_path / "run"), together[0]
    assert checkpoint.record == reference.record  # the weights' digest is in it


def _torchrun(*arguments: object) -> Ended:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        [*torchrun, "-m", "dtgd_edge", "train", *map(str, arguments), "--device", "cpu"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


_TINY = (
    '[teacher]\nbackbone = "resnet18_quarter"\nweights = "random"\n[optimiser]\nsteps = 2\nbatch = {batch}\n'
)


def test_torchrun_trains_and_says_so_once(pretend_data: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(_TINY.format(batch=2))
    ended = _torchrun(
        pretend_data, "--recipe", tmp_path / "tiny.toml", "--size", 64, "--workspace", tmp_path, "--json"
    )
    assert ended.code == 0, ended.err
    (folder,) = (tmp_path / "runs").iterdir()
    trained = json.loads(ended.out)
    assert trained["checkpoint"] == str(folder) and trained["steps"] == 2
    assert ended.err.count("good pictures to train on") == 1
    assert ended.err.count("2 processes train together") == 1
    assert Checkpoint.open(folder).record.loss == trained["loss"]


def test_an_error_of_all_is_told_once(pretend_data: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(_TINY.format(batch=3))
    ended = _torchrun(pretend_data, "--recipe", tmp_path / "tiny.toml", "--workspace", tmp_path)
    assert ended.code != 0 and ended.out == ""
    told = [line for line in ended.err.splitlines() if line.startswith("dtgd-edge: ")]
    assert told == [
        "dtgd-edge: optimiser.batch is 3 and 2 processes train together; expected a batch that 2 divides; "
        "change the recipe or torchrun's --nproc-per-node"
    ]
    assert not (tmp_path / "runs").exists()


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as world:
        assert (world.rank, world.size, world.device, world.is_first) == (0, 1, torch.device("cpu"), True)
        assert world.places(5) == range(5)
        module = torch.nn.BatchNorm2d(3)
        assert world.shared(module) is module
        assert world.any(True) and not world.any(False) and world.from_first(lambda: "it") == "it"


def test_an_environment_that_is_not_torchruns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE is 2 but RANK is not set"), joined("cpu"):
        pass


def test_places_are_shared_out_in_order() -> None:
    worlds = [World(rank, 4, torch.device("cpu"), 1) for rank in range(4)]
    assert [place for world in worlds for place in world.places(12)] == list(range(12))
    assert {len(world.places(12)) for world in worlds} == {3}
    for batch in (2, 6):
        with pytest.raises(ConfigError, match=rf"optimiser.batch is {batch} and 4 processes"):
            worlds[0].places(batch)


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device("auto") == torch.device("cuda", 1) and taken == [1]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="process 3 on this machine finds 2 GPUs"):
        own_device("auto")
    assert own_device("cpu") == torch.device("cpu")
