"""The plan cache: what does not fit is built again or refused, never loaded on hope. No TensorRT needed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dtgd_edge.bundle import TensorSpec
from dtgd_edge.errors import BackendError, PlanMismatch
from dtgd_edge.runtime.plan import Built, PlanKey
from dtgd_edge.runtime.plans import PlanCache
from dtgd_edge.workspace import cache_folder

KEY = PlanKey("a" * 64, "fp16", "tensorrt", "10.3.0", "linux-aarch64", "Orin", ("8.7",))
TENSORS = ((TensorSpec("frames", "uint8", (1, 8, 8, 3)),), (TensorSpec("score", "float32", (1,)),))


class Builder:
    """Counts how often it was asked."""

    def __init__(self, engine: bytes = b"engine") -> None:
        self.engine = engine
        self.count = 0

    def __call__(self) -> Built:
        self.count += 1
        return Built(self.engine, *TENSORS, memory_limit_mib=512)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_built_once_then_found(cache: PlanCache) -> None:
    build = Builder()
    first = cache.provide(KEY, build)
    second = cache.provide(KEY, build)
    assert (first.is_hit, second.is_hit, build.count) == (False, True, 1)
    assert second.engine == first.engine == second.path.read_bytes() == b"engine"
    assert second.record == first.record and second.record.key == KEY


def test_the_engine_is_plain_and_its_record_says_what_it_is(cache: PlanCache) -> None:
    plan = cache.provide(KEY, Builder())
    assert plan.path.suffix == ".engine" and plan.path.stem == KEY.digest
    record = json.loads(plan.path.with_suffix(".json").read_text())
    assert record["key"]["graph_sha256"] == "a" * 64 and record["key"]["targets"] == ["8.7"]
    assert record["inputs"] == [{"name": "frames", "dtype": "uint8", "shape": [1, 8, 8, 3]}]
    assert record["engine_bytes"] == 6 and record["memory_limit_mib"] == 512
    assert record["build_seconds"] >= 0 and record["created"].endswith("+00:00")


def test_its_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTGD_EDGE_CACHE", str(tmp_path))
    assert PlanCache().folder == cache_folder() / "plans" == tmp_path / "plans"
    monkeypatch.delenv("DTGD_EDGE_CACHE")
    assert PlanCache().folder == Path.home() / ".cache" / "dtgd-edge" / "plans"


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, graph_sha256="b" * 64),
        replace(KEY, precision="int8"),
        replace(KEY, library="rtx"),
        replace(KEY, version="10.16.2"),
        replace(KEY, platform="linux-x86_64"),
        replace(KEY, gpu="RTX 4090"),
        replace(KEY, targets=("8.9",)),
        replace(KEY, targets=("8.7", "8.9")),
        replace(KEY, flags=("strongly_typed", "version_compatible")),
    ],
    ids=lambda key: next(f for f in ("graph_sha256", *KEY.__slots__) if getattr(key, f) != getattr(KEY, f)),
)
def test_whatever_differs_is_built_again(cache: PlanCache, other: PlanKey) -> None:
    build = Builder()
    cache.provide(KEY, build)
    assert not cache.provide(other, build).is_hit and build.count == 2
    assert cache.provide(KEY, build).is_hit


def test_why_a_plan_is_missing(cache: PlanCache) -> None:
    assert "no plan of this graph" in cache.why_missing(KEY)
    cache.provide(KEY, Builder())
    why = cache.why_missing(replace(KEY, version="10.16.2", gpu="Thor", targets=("11.0",)))
    assert "version 10.3.0 (here: 10.16.2)" in why and "gpu Orin (here: Thor)" in why


def test_forced(cache: PlanCache) -> None:
    cache.provide(KEY, Builder())
    assert not cache.provide(KEY, build := Builder(b"newer"), is_forced=True).is_hit
    plan = cache.read(KEY)
    assert build.count == 1 and plan is not None and plan.engine == b"newer"


def test_a_plan_for_more_capabilities_is_found(cache: PlanCache) -> None:
    many = replace(KEY, library="rtx", gpu="", targets=("8.6", "8.9", "12.0"))
    cache.provide(many, Builder())
    one = replace(many, targets=("8.9",))
    assert cache.read(one) is None
    found = cache.find(one, "8.9")
    assert found is not None and found.record.key == many
    assert cache.find(replace(one, targets=("7.5",)), "7.5") is None
    assert cache.find(replace(one, version="2"), "8.9") is None


# ---------------------------------------------------------------------------------------- damage


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def _flip(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def _remove(path: Path) -> None:
    path.unlink()


def _edit(text: str, by: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        record = path.with_suffix(".json")
        assert text in record.read_text()
        record.write_text(record.read_text().replace(text, by))

    return edit


DAMAGE = {
    "cut": (_cut, "damaged"),
    "flipped": (_flip, "damaged"),
    "empty": (lambda path: path.write_bytes(b""), "damaged"),
    "engine gone": (_remove, "missing"),
    "record of another version": (_edit("10.3.0", "10.9.9"), "version 10.9.9"),
    "record of another graph": (_edit("a" * 64, "b" * 64), "graph sha256"),
    "record no JSON": (lambda path: path.with_suffix(".json").write_bytes(b"{"), "damaged"),
    "record no text": (lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe"), "damaged"),
    "record empty": (lambda path: path.with_suffix(".json").write_bytes(b""), "damaged"),
    "record no object": (lambda path: path.with_suffix(".json").write_bytes(b"[]"), "schema"),
    "record lacks a key": (_edit('"engine_bytes"', '"engine_size"'), "engine_bytes"),
    "record newer": (_edit('"schema": 1', '"schema": 2'), "schema"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_with_one_sentence_and_built_again(cache: PlanCache, name: str) -> None:
    damage, word = DAMAGE[name]
    path = cache.provide(KEY, Builder()).path
    damage(path)
    with pytest.raises(PlanMismatch, match=word) as refused:
        cache.read(KEY)
    assert str(refused.value).endswith("run: dtgd-edge build") and "\n" not in str(refused.value)
    said: list[str] = []
    build = Builder()
    assert not cache.provide(KEY, build, say=said.append).is_hit
    assert build.count == 1 and said[0].startswith("building again: ")
    assert cache.provide(KEY, build).is_hit


def test_a_folder_in_its_place_is_an_error_not_a_crash(cache: PlanCache) -> None:
    path = cache.provide(KEY, Builder()).path
    path.unlink()
    path.mkdir()
    with pytest.raises(PlanMismatch, match="cannot be read"):
        cache.read(KEY)
    with pytest.raises(BackendError, match="cannot be written"):
        cache.provide(KEY, Builder())


def test_without_its_record_a_plan_is_none(cache: PlanCache) -> None:
    path = cache.provide(KEY, Builder()).path
    path.with_suffix(".json").unlink()
    assert cache.read(KEY) is None
    assert not cache.provide(KEY, build := Builder()).is_hit and build.count == 1


def test_a_failed_build_leaves_nothing(cache: PlanCache) -> None:
    def fail() -> Built:
        raise BackendError("no")

    with pytest.raises(BackendError):
        cache.provide(KEY, fail)
    assert cache.read(KEY) is None and [p.suffix for p in cache.folder.iterdir()] == [".lock"]
    assert not cache.provide(KEY, Builder()).is_hit


def test_discard(cache: PlanCache) -> None:
    path = cache.provide(KEY, Builder()).path
    cache.discard(KEY)
    cache.discard(KEY)
    assert cache.read(KEY) is None and not path.exists()


# ------------------------------------------------------------------------------- folders that refuse


def _refused_before_building(folder: Path) -> None:
    build = Builder()
    with pytest.raises(BackendError, match=r"cannot be written .*set DTGD_EDGE_CACHE"):
        PlanCache(folder).provide(KEY, build)
    assert build.count == 0, "minutes of building must not precede the refusal"


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("")
    _refused_before_building(tmp_path / "plans")
    _refused_before_building(tmp_path / "plans" / "below")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        _refused_before_building(tmp_path)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_read_only_disk(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        cache = PlanCache(tmp_path)
        cache.provide(KEY, Builder())
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        build = Builder()
        assert cache.provide(KEY, build).is_hit, "reading needs no lock"
        with pytest.raises(BackendError, match="Read-only file system"):
            cache.provide(replace(KEY, version="11"), build)
        with pytest.raises(BackendError, match="Read-only file system"):
            cache.discard(KEY)
        assert build.count == 0
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# ------------------------------------------------------------------------------- several processes

_BUILD = """
import sys, time
from pathlib import Path
from dtgd_edge.runtime.plan import Built
from dtgd_edge.runtime.plans import PlanCache
from tests.runtime.test_plans import KEY, TENSORS

folder = Path(sys.argv[1])

def build():
    with (folder / "builds").open("a") as log:
        log.write("x")
    time.sleep(float(sys.argv[2]))
    return Built(b"engine" * 1000, *TENSORS)

plan = PlanCache(folder).provide(KEY, build, say=lambda text: print(text, flush=True))
print("hit" if plan.is_hit else "built", len(plan.engine))
"""


def _start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX")
def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    first = _start(tmp_path, 3.0)
    _wait_for(tmp_path / "builds")
    second = _start(tmp_path, 3.0)
    answers = [process.communicate(timeout=60)[0].splitlines() for process in (first, second)]
    assert answers[0] == ["built 6000"]
    assert answers[1] == ["another process is building this engine; waiting for it", "hit 6000"]
    assert (tmp_path / "builds").read_text() == "x"


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX")
def test_the_lock_of_a_killed_process_is_no_lock(tmp_path: Path) -> None:
    victim = _start(tmp_path, 60.0)
    _wait_for(tmp_path / "builds")
    waiting = _start(tmp_path, 0.0)
    assert waiting.stdout is not None and waiting.stdout.readline().startswith("another process")
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert waiting.communicate(timeout=30)[0] == "built 6000\n"
    assert PlanCache(tmp_path).provide(KEY, Builder()).is_hit
