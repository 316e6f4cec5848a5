"""The last checkpoint and the one before it: whatever becomes of the last one, and whenever a writer is killed."""

import multiprocessing
import os
import shutil
import signal
import sys
import warnings

import pytest
import torch

from cmd_tune.compute.slower import Slower
from cmd_tune.train.checkpoint import load_checkpoint, save_tensors
from cmd_tune.train.kept_checkpoints import keep_last, load_newest, path_before, save_next
from tests.train.one_line import one_line


def state(epoch):
    return {"weights": torch.full((500,), float(epoch)), "history": [{"epoch": k + 1} for k in range(epoch)]}


def epoch_of(state):
    assert state["weights"].tolist() == [len(state["history"])] * 500
    return len(state["history"])


@pytest.fixture
def path(tmp_path):
    """Where the checkpoints of epochs 1 to 3 were written, of which two are kept."""
    path = tmp_path / "run" / "checkpoint.pt"
    for epoch in (1, 2, 3):
        save_next(path, state(epoch), keep=epoch > 1)
    return path


def names(path):
    return sorted(file.name for file in path.parent.iterdir())


def newest(path):
    """(epoch, file, what was warned of) of the newest whole one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load_newest(path)
    assert all(warning.category is Slower for warning in caught)
    return epoch_of(found.state), found.path, [str(warning.message) for warning in caught]


def test_the_last_and_the_one_before_are_kept(path):
    assert names(path) == ["checkpoint-before.pt", "checkpoint.pt"]
    assert epoch_of(load_checkpoint(path_before(path))) == 2
    assert newest(path) == (3, path, [])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a flipped bit": flip,
    "empty": lambda path: os.truncate(path, 0),
    "an empty archive": lambda path: path.write_bytes(b"PK\5\6" + bytes(18)),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "of another format": lambda path: save_tensors(path, {"format": 99, **state(3)}),
    "a text": lambda path: path.write_text("epoch: 3\n"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_in_place_of_a_damaged_one_the_one_before_is_used_and_that_is_said(path, damage):
    DAMAGE[damage](path)
    epoch, file, (said,) = newest(path)
    assert (epoch, file) == (2, path_before(path))
    assert said.startswith(f"{path}: no")
    assert said.endswith("; checkpoint-before.pt, of epoch 2, is used in its place")
    assert "\n" not in said


def test_if_both_are_damaged_a_line_names_both_and_the_cure(path):
    flip(path)
    flip(path_before(path))
    why = "not a whole checkpoint (its content is not what was written)"
    cure = "restore one of them, or remove both and train from the first epoch"
    assert one_line(lambda: load_newest(path)) == f"{path}: {why}, nor is checkpoint-before.pt; {cure}"
    path_before(path).unlink()
    cure = "restore it, or remove it and train from the first epoch"
    assert one_line(lambda: load_newest(path)) == f"{path}: {why}; {cure}"
    shutil.move(path, path_before(path))
    assert one_line(lambda: load_newest(path)) == f"{path_before(path)}: {why}; {cure}"
    path_before(path).unlink()
    assert load_newest(path) is None


def test_a_damaged_one_does_not_become_the_one_before(path):
    flip(path)
    save_next(path, state(3), keep=False)
    assert (newest(path)[0], epoch_of(load_checkpoint(path_before(path)))) == (3, 2)


def killed_at(path, count):
    """Write the checkpoint of epoch 4 in a process that SIGKILL ends at its count-th call to do with files."""
    calls = iter(range(1, sys.maxsize))

    def hook(name, _):
        if name in ("open", "os.rename", "os.remove") and next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    def write():
        sys.addaudithook(hook)
        save_next(path, state(4), keep=True)
        keep_last(path)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=write)
    process.start()
    process.join(60)
    return process.exitcode


def test_a_writer_that_is_killed_at_any_call_leaves_a_whole_one(tmp_path, path):
    kept, found = tmp_path / "kept", []
    path.parent.rename(kept)
    for count in range(1, 100):
        shutil.copytree(kept, path.parent)
        code = killed_at(path, count)
        found.append((newest(path)[0], len([name for name in names(path) if not name.endswith(".part")])))
        shutil.rmtree(path.parent)
        if code == 0:
            break
    assert code == 0
    assert found == sorted(found, key=lambda one: one[0])  # epoch 3 up to a call, 4 from then on
    assert set(found) == {(3, 2), (3, 1), (4, 2), (4, 1)}  # (3, 1): between the two renames
    assert found[-1] == (4, 1)


def test_of_a_run_that_goes_on_no_more_one_is_kept(path):
    keep_last(path)
    assert names(path) == ["checkpoint.pt"]
    keep_last(path)
    assert newest(path) == (3, path, [])
    shutil.move(path, path_before(path))  # as a process leaves it that is killed between the two renames
    keep_last(path)
    assert names(path) == ["checkpoint.pt"]
    path.unlink()
    keep_last(path)
    assert names(path) == []
