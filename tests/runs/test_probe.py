"""A probe: what a whole run takes by what was measured of it, and that it leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmd_tune.data.store import Store
from cmd_tune.runs.data_source import open_data
from cmd_tune.runs.probe import Probed, probe
from cmd_tune.settings import Settings


def test_a_run_is_its_steps_its_evaluations_and_its_checkpoints(tiny: Callable[..., Settings]) -> None:
    found = Probed(step=2.0, validation=30.0, test=500.0, checkpoint=0.125, memory=1, gpu_memory=0)
    settings = tiny(epochs=7, batch_size=4, evaluate_every=3, checkpoint_every=2)
    # 11 // 4 = 2 steps an epoch; evaluated after 3, 6, 7; checkpoints after 2, 4, 6, 7.
    assert found.seconds(settings, 11, validated=False, tested=False) == 7 * 2 * 2.0 + 4 * 0.125
    assert found.seconds(settings, 11, validated=True, tested=False) == 28.5 + 3 * 30
    assert found.seconds(settings, 11, validated=False, tested=True) == 28.5 + 500


@pytest.mark.parametrize("trials", [1, 3])
def test_steps_and_evaluations_are_measured(
    tiny: Callable[..., Settings], tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int
) -> None:
    source, _ = open_data(tmp_path, tiny_store.path, "xview")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    met: list[int] = []
    found = probe(tiny(batch_size=8), source, 1, lambda: met.append(1), trials=trials)
    assert min(found.step, found.validation, found.test) > 0
    assert found.memory > 50e6  # bytes, of a process with PyTorch
    assert found.gpu_memory >= 0
    assert met == [1, 1]  # after the warm-up, and at the end
    assert sorted(tmp_path.rglob("*")) == before
