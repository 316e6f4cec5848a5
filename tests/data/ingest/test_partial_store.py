"""An ingest that is stopped, by whatever: what was read is not read again, and no half a store is ever there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.readers import clip_files
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.data.store import open_store
from cmd_tune.errors import CmdTuneError, Interrupted

CLIPS = 20

CHILD = """
import os, resource, signal, sys
from pathlib import Path
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.readers import clip_files
from cmd_tune.errors import CmdTuneError

clip_files.BATCH = 2
how, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

def progress(done, total):
    if how == "kill" and done >= 8:
        os.kill(os.getpid(), signal.SIGKILL)

if how == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    ingest("nw-ucla", source, out, progress=progress, processes=int(sys.argv[4]))
except CmdTuneError as error:
    print(f"one line: {error}")
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty clips of 10 to 29 frames, one file of which is no clip."""
    random = np.random.default_rng(0)
    folder = tmp_path / "clips"
    folder.mkdir()
    for n in range(CLIPS):
        record = {"skeletons": random.normal(size=(10 + n, 20, 3)).tolist(), "label": 1 + n % 3}
        (folder / f"a01_s{n:02}_e00_v01.json").write_text(json.dumps(record) if n != 3 else "{")
    return folder


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> bytes:
    """The store that no interruption gives."""
    ingest("nw-ucla", source, tmp_path / "whole.arrow")
    return (tmp_path / "whole.arrow").read_bytes()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_files, "BATCH", 2)


def child(how: str, source: Path, out: Path, processes: int = 1) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, how, str(source), str(out), str(processes)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kill(source: Path, out: Path) -> None:
    """An ingest in a fork of this process, which is killed after eight files."""

    def progress(done: int, total: int) -> None:
        if done >= 8:
            os.kill(os.getpid(), signal.SIGKILL)

    forked = os.fork()
    if not forked:
        try:
            ingest("nw-ucla", source, out, progress=progress, processes=1)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == -signal.SIGKILL


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_ingest_goes_on_where_it_was(source: Path, tmp_path: Path, whole: bytes, processes: int) -> None:
    out = tmp_path / "out" / "ucla.arrow"
    assert child("kill", source, out, processes).returncode == -signal.SIGKILL
    assert [path.name for path in out.parent.iterdir()] == [".ucla.arrow.ingest"]
    said: list[str] = []
    seen: list[int] = []
    done = ingest("nw-ucla", source, out, tell=said.append, progress=lambda read, total: seen.append(read))
    assert said == ["going on: 8 of 20 files were already read"]
    assert seen == list(range(8, 21, 2))
    assert [line.split(":")[1] for line in done.left_out] == [" a01_s03_e00_v01.json"]
    assert out.read_bytes() == whole
    assert [path.name for path in out.parent.iterdir()] == ["ucla.arrow"]


def test_ctrl_c_is_one_line_and_costs_nothing(source: Path, tmp_path: Path, whole: bytes) -> None:
    out = tmp_path / "ucla.arrow"

    def interrupt(read: int, total: int) -> None:
        if read == 6:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"interrupted after 6 of 20 files; the same command goes on from there"):
        ingest("nw-ucla", source, out, progress=interrupt)
    assert not out.exists()
    said: list[str] = []
    ingest("nw-ucla", source, out, tell=said.append)
    assert said == ["going on: 6 of 20 files were already read"]
    assert out.read_bytes() == whole


@pytest.mark.parametrize("spoil", ["half a line", "frames of no line", "frames missing", "zeros"])
def test_what_was_half_written_is_written_again(source: Path, tmp_path: Path, whole: bytes, spoil: str) -> None:
    out = tmp_path / "ucla.arrow"
    kill(source, out)
    frames, clips = (tmp_path / ".ucla.arrow.ingest" / name for name in ("frames", "clips"))
    if spoil == "half a line":
        clips.write_bytes(clips.read_bytes()[:-5])
    elif spoil == "frames of no line":
        frames.write_bytes(frames.read_bytes() + b"\1" * 777)
    elif spoil == "frames missing":
        os.truncate(frames, frames.stat().st_size - 1000)
    else:
        lines = clips.read_bytes().splitlines(keepends=True)
        clips.write_bytes(b"".join([*lines[:3], b"\0" * 50 + b"\n", *lines[3:]]))
    ingest("nw-ucla", source, out)
    assert out.read_bytes() == whole


@pytest.mark.parametrize("change", ["a file", "dtype", "exclude", "a new file"])
def test_another_source_or_option_starts_anew(source: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "ucla.arrow"
    kill(source, out)
    if change == "a file":
        os.utime(source / "a01_s00_e00_v01.json", (1, 1))
    if change == "a new file":
        (source / "a01_s99_e00_v01.json").write_bytes((source / "a01_s00_e00_v01.json").read_bytes())
    said: list[str] = []
    done = ingest(
        "nw-ucla",
        source,
        out,
        dtype="float16" if change == "dtype" else "float32",
        options=ReadOptions(frozenset(["a01_s01_e00_v01"] if change == "exclude" else [])),
        tell=said.append,
    )
    assert said == []
    assert len(done.store) == CLIPS - 1 + {"exclude": -1, "a new file": 1}.get(change, 0)


def test_a_full_disk_is_one_line_and_goes_on_when_there_is_room(source: Path, tmp_path: Path, whole: bytes) -> None:
    """The limit on file size stands in for the disk's: the system refuses to write on."""
    out = tmp_path / "ucla.arrow"
    ended = child("full", source, out)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"one line: {out}: cannot be written: File too large\n"
    assert not out.exists()
    said: list[str] = []
    ingest("nw-ucla", source, out, tell=said.append)
    assert said == ["going on: 6 of 20 files were already read"]
    assert out.read_bytes() == whole


def test_a_disk_that_is_full_when_the_store_is_put_together(source: Path, tmp_path: Path, whole: bytes) -> None:
    """The parts fit, the whole does not: the store that was there before is untouched."""
    out = tmp_path / "ucla.arrow"
    out.write_bytes(b"before")
    limit = len(whole) - 1000
    code = CHILD.replace("20_000, 20_000", f"{limit}, {limit}")
    command = [sys.executable, "-c", code, "full", str(source), str(out), "1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout.startswith(f"one line: {out}: cannot be written: ")
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".ucla.arrow.ingest",
        "clips",
        "ucla.arrow",
        "whole.arrow",
    ]


def test_two_at_once_are_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "ucla.arrow"
    refused: list[str] = []

    def another(read: int, total: int) -> None:
        if read == 4:
            with pytest.raises(CmdTuneError, match="another process is writing it") as caught:
                ingest("nw-ucla", source, out)
            refused.append(str(caught.value))

    ingest("nw-ucla", source, out, progress=another)
    assert len(refused) == 1
    assert len(open_store(out)) == CLIPS - 1


def test_reading_processes_end_with_a_parent_that_is_killed(source: Path, tmp_path: Path) -> None:
    """Their ends of the pipe to this process close, so that its end is seen."""
    command = [sys.executable, "-c", CHILD, "kill", str(source), str(tmp_path / "ucla.arrow"), "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as killed:
        assert killed.stdout is not None
        assert killed.communicate(timeout=60)[0] == b""
    assert killed.returncode == -signal.SIGKILL
