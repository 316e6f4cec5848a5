"""What is said of any run before it starts."""

from collections.abc import Callable

import pytest

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.runs.run_checks import check_disk, checkpoint_bytes
from cmd_tune.runs.single_run import new_single
from cmd_tune.settings import Settings


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


def test_a_disk_without_room_is_named(tmp_path):
    folder = tmp_path / "not" / "yet"
    assert check_disk(folder, 1000, 10) == ""
    assert "the checkpoints of 1000000000000 trials take 1000000000.0 GB" in check_disk(folder, 1_000_000, 10**12)
    assert check_disk(folder, 1000, None) == ""
    with pytest.raises(CmdTuneError, match=f"^{folder}: .* are free on its disk, .* are needed; make room there"):
        check_disk(folder, 10**18, 1)
