"""A search before it runs: which metrics it may be judged by."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.plain_yaml import dump_yaml, read_yaml
from cmd_tune.search.plan import PLAN, Plan, new_plan, resumed_plan
from cmd_tune.search.space import Space


@pytest.fixture
def plan(make_space: Callable[..., Space], tiny_store: Store, tmp_path: Path) -> Callable[..., Plan]:
    """Plans a search of a space file with these keys changed, judged by this metric."""

    def make(metric: str, **changes: object) -> Plan:
        space = make_space(metric={"name": metric, "goal": "minimize"}, **changes)
        return new_plan(
            str(space.path),
            storage=tmp_path / "runs",
            name=None,
            data=tiny_store.path,
            protocol="xview",
            preset=None,
            overrides=["batch_size=8"],
            trials=None,
            concurrent=None,
            workers=1,
            gpus_per_worker=None,
            tracking_uri=None,
        )

    return make


@pytest.mark.parametrize("objective", ["mcl", "crossclr", "cmd"])
def test_the_cross_modal_loss_is_named_after_the_objective(plan: Callable[..., Plan], objective: str) -> None:
    settings = {"objective": objective}
    assert plan(f"loss/{objective}", settings=settings).space.metric == f"loss/{objective}"
    other = "loss/mcl" if objective == "cmd" else "loss/cmd"
    with pytest.raises(UsageError, match=f"'{other}' is never reported"):
        plan(other, settings=settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"objective": "base"}},
        {"parameters": {"objective": {"values": ["base", "cmd"]}}, "points_to_evaluate": None},
    ],
    ids=["base", "searched"],
)
def test_what_not_every_trial_reports_is_no_metric(plan: Callable[..., Plan], changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="'loss/cmd' is never reported") as caught:
        plan("loss/cmd", **changes)
    assert "\n" not in str(caught.value)
    assert plan("loss/total", **changes).space.metric == "loss/total"


def test_a_resume_leaves_the_environment_that_was_recorded(plan: Callable[..., Plan]) -> None:
    """It may go on with another release, on another machine."""
    folder = plan("loss/total").folder
    kept = read_yaml(folder / PLAN)
    assert kept["environment"].keys().isdisjoint({"gpu", "cpu_threads"})  # trials may run elsewhere
    kept["environment"]["python"] = "3.99"
    (folder / PLAN).write_text(dump_yaml(kept))
    resumed_plan(
        folder.name, space_name=None, kept_options={}, storage=folder.parent,
        trials=7, concurrent=None, workers=None, gpus_per_worker=None, tracking_uri=None,
    )  # fmt: skip
    assert read_yaml(folder / PLAN) == {**kept, "trials": 7, "space": str(folder / "space.yaml")}
