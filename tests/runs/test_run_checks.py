"""What is said of any run before it starts."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.runs.run_checks import check_disk, checkpoint_bytes, describe_disk
from cmd_tune.runs.single_run import new_single
from cmd_tune.settings import Settings, make_settings


def test_one_configuration_is_checked_too(tiny_store, tmp_path):
    with pytest.raises(UsageError, match="batch_size 64: there are only 36 clips"):
        new_single(
            data=tiny_store.path, protocol=None, preset=None, overrides=[], config=None, name="it", storage=tmp_path,
            tracking_uri=None,
        )  # fmt: skip
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_size_of_a_checkpoint(tiny: Callable[..., Settings], tiny_store, tmp_path, optimizer):
    settings = tiny(optimizer=optimizer, hidden_size=64, queue_size=5000, epochs=1)
    run(settings, DataSource(tiny_store.path, "xview"), tmp_path, lambda record: None)
    size = (tmp_path / "checkpoint.pt").stat().st_size
    assert size == pytest.approx(checkpoint_bytes(settings, tiny_store.width), rel=0.1)


def test_a_checkpoint_is_predicted_without_pytorchs_compiler():
    """Which takes a second to load, at the start of each command that trains."""
    lines = (
        "import sys",
        "from cmd_tune.runs.run_checks import checkpoint_bytes",
        "from cmd_tune.settings import make_settings",
        "print(checkpoint_bytes(make_settings('quick'), 150), 'torch._dynamo' in sys.modules)",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    size, loaded = done.stdout.split()
    assert int(size) == checkpoint_bytes(make_settings("quick"), 150)
    assert loaded == "False"


def checkpoints(folder, count, size):
    """Files of that many bytes, which take no room on the disk."""
    for index in range(count):
        path = folder / f"{index}.pt"
        path.touch()
        os.truncate(path, size)
        yield path


def test_a_run_takes_three_checkpoints_at_most_and_one_at_the_end(tmp_path):
    line = check_disk(tmp_path / "not" / "yet", 18_000_000)
    assert re.fullmatch(r"disk: checkpoints take up to 54 MB, 18 MB at the end; [\d.]+ [GM]B are free", line), line


def test_a_disk_without_room_is_named(tmp_path):
    folder = tmp_path / "not" / "yet"
    with pytest.raises(CmdTuneError, match=f"^{folder}: .* are free on its disk, .* are needed; make room there"):
        check_disk(folder, 10**18)


def test_what_is_there_needs_no_more_room_but_one_more_is_written(tmp_path):
    """Of a disk of which 2.5 checkpoints are free: a new run does not fit, one that has two of its three does."""
    one = int(shutil.disk_usage(tmp_path).free / 2.5)
    with pytest.raises(CmdTuneError, match="make room there"):
        check_disk(tmp_path, one)
    try:
        kept = list(checkpoints(tmp_path, 2, one))
    except OSError:
        pytest.skip("the file system has no sparse files of that size")
    assert check_disk(tmp_path, one, [*kept, tmp_path / "gone.pt"])
    with pytest.raises(CmdTuneError, match="make room there"):
        check_disk(tmp_path, 3 * one, [*kept, *kept, *kept])  # those of other trials leave no room for the next one


def test_a_search_takes_one_for_each_run_and_two_more_for_each_at_once(tmp_path):
    line = describe_disk(tmp_path, 10_000_000, {"trial": 20, "refit": 3}, 4)
    said = r"disk: the checkpoints of 20 trials and 3 refits take up to 310 MB; [\d.]+ [GM]B are free"
    assert re.fullmatch(said, line), line
    line = describe_disk(tmp_path, 10**15, {"trial": 1, "refit": 0}, 1)
    said = r"disk: the checkpoints of 1 trial take up to 3000000.0 GB; [\d.]+ [GM]B are free, which may not last; "
    assert re.fullmatch(f"{said}make room in {tmp_path}", line), line
