"""Searches as they are resolved and resumed: what a table may change between sessions, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cmd_tune.data.store import Store
from cmd_tune.errors import UsageError
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import Plan, new_plan, resumed_plan

TABLE = {
    "method": "cells",
    "metric": {"name": "test/knn/joint", "goal": "maximize"},
    "cells": [{"topk": 4, "reported": {"test/knn/joint": 70}}, {"topk": 8}],
    "seeds": [0, 1],
}
GRID = {
    "method": "grid",
    "metric": {"name": "val/knn/joint", "goal": "maximize"},
    "parameters": {"topk": {"values": [4, 8, 16]}},
}

Start = Callable[..., Plan]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a space file with keys changed; returns its path as typed."""

    def make(base: dict[str, object], **changes: object) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**base, **changes}))
        return str(path)

    return make


@pytest.fixture
def start(tiny_store: Store, tmp_path: Path) -> Start:
    def make(space: str, trials: int | None = None) -> Plan:
        return new_plan(
            space, storage=tmp_path / "runs", name="it", data=tiny_store.path, protocol=None, preset=None,
            overrides=["epochs=5"], trials=trials, resources=ResourceRequest(), tracking_uri=None,
        )  # fmt: skip

    return make


@pytest.fixture
def resume(tmp_path: Path) -> Start:
    def make(space: str | None = None, trials: int | None = None) -> Plan:
        return resumed_plan(
            "it", space_name=space, kept_options={}, storage=tmp_path / "runs", trials=trials,
            resources=ResourceRequest(), tracking_uri=None,
        )  # fmt: skip

    return make


def test_a_tables_trials_are_its_cells_and_seeds(start: Start, resume: Start, write: Callable[..., str]) -> None:
    plan = start(write(TABLE))
    assert (plan.trials, plan.settings.topk, plan.settings.epochs) == (4, 4, 5)  # the first cell's topk
    assert resume().trials == 4
    assert resume(trials=3).trials == 3
    assert resume().trials == 3  # what was asked for last


def test_a_table_trains_on_the_whole_training_set_unless_it_asks_for_validation(
    start: Start, write: Callable[..., str]
) -> None:
    assert start(write(TABLE)).settings.holdout == "none"
    with pytest.raises(UsageError) as caught:
        start(write(TABLE, metric={"name": "val/knn/joint", "goal": "maximize"}))
    assert str(caught.value).endswith(
        "mine.yaml: metric.name: 'val/knn/joint' needs clips to validate on, of which holdout none leaves none; "
        "write test/knn/joint, or settings: {holdout: validation}"
    )


def test_a_table_may_ask_for_validation(start: Start, write: Callable[..., str]) -> None:
    validated = {"settings": {"holdout": "validation"}, "metric": {"name": "val/knn/joint", "goal": "maximize"}}
    assert start(write(TABLE, **validated)).settings.holdout == "validation"


def test_cells_of_which_some_validate_are_compared_by_the_test_set(start: Start, write: Callable[..., str]) -> None:
    cells = [{"holdout": "none"}, {"holdout": "validation"}]
    plan = start(write(TABLE, cells=cells))
    assert plan.settings.holdout == "none"
    with pytest.raises(UsageError, match=r"'val/knn/fused' needs .* none by trials of .*holdout none; write test/knn"):
        start(write(TABLE, cells=cells, metric={"name": "val/knn/fused", "goal": "maximize"}))


def test_a_search_needs_validation_or_a_loss(start: Start, write: Callable[..., str]) -> None:
    assert start(write(GRID)).settings.holdout == "validation"
    with pytest.raises(UsageError, match=r"holdout none leaves none; write loss/total, or settings"):
        start(write(GRID, settings={"holdout": "none"}))
    with pytest.raises(UsageError, match=r"'test/knn/joint' is never reported"):
        start(write(GRID, metric={"name": "test/knn/joint", "goal": "maximize"}))


def test_fewer_trials_than_have_been_started_are_refused_and_not_recorded(
    start: Start, resume: Start, write: Callable[..., str]
) -> None:
    folder = start(write(TABLE)).folder
    for index in range(3):
        (folder / "trials" / f"{index:03d}").mkdir(parents=True)
    before = (folder / "search.yaml").read_bytes()
    with pytest.raises(UsageError, match=r"--trials 2: it has started 3; ask for more, or leave it out"):
        resume(trials=2)
    assert (folder / "search.yaml").read_bytes() == before
    assert resume(trials=3).trials == 3


def test_a_budget_counts_where_nobody_asks_for_another(start: Start, write: Callable[..., str]) -> None:
    assert start(write(TABLE, budget={"trials": 3})).trials == 3


def test_a_grid_has_its_cells_or_fewer(start: Start, write: Callable[..., str]) -> None:
    assert start(write(GRID), trials=9).trials == 3


def test_a_resumed_table_takes_the_file_with_more_in_it(start: Start, resume: Start, write: Callable[..., str]) -> None:
    before = start(write(TABLE))
    claims = [{"says": "so", "best": {"topk": 4}}]
    plan = resume(write(TABLE, cells=[*TABLE["cells"], {"topk": 2}], seeds=[0, 1, 2], claims=claims))
    assert plan.trials == 9
    assert plan.settings == before.settings
    again = resume()  # the folder's own copy has them now
    assert (again.trials, again.space.comparison) == (9, plan.space.comparison)


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        (TABLE, {"settings": {"epochs": 3}}, "mine.yaml: settings: not as in it; start a new search"),
        (TABLE, {"metric": {"name": "val/knn/fused", "goal": "maximize"}}, "mine.yaml: metric: not as in it; start"),
        (TABLE, {"cells": [{"epochs": 3}]}, "mine.yaml: cells: settings: not as in it; start"),
        (TABLE, {"cells": [{"topk": 300}]}, "mine.yaml: cells[0]: breaks a rule of the settings: topk 300 exceeds"),
        (TABLE, {"cells": [{"topk": 2, "reported": {"test/knn/head": 1}}]}, "cells, claims: 'test/knn/head' is never"),
        (TABLE, {"seeds": [0, 2]}, "mine.yaml: seeds: it has 1, too; a table may get more seeds, not fewer"),
        (GRID, {}, "--space: a resumed search keeps its own; only a table may get more cells and seeds"),
    ],
)
def test_a_resumed_table_refuses_what_would_not_compare(
    start: Start, resume: Start, write: Callable[..., str], tmp_path: Path, base: dict, changes: dict, said: str
) -> None:
    start(write(TABLE))
    kept = (tmp_path / "runs" / "it" / "space.yaml").read_text()
    with pytest.raises(UsageError) as caught:
        resume(write(base, **changes))
    assert said in str(caught.value)
    assert (tmp_path / "runs" / "it" / "space.yaml").read_text() == kept


def test_a_search_that_selects_keeps_its_space(start: Start, resume: Start, write: Callable[..., str]) -> None:
    start(write(GRID))
    with pytest.raises(UsageError, match=r"^--space: a resumed search keeps its own"):
        resume(write(TABLE))


def test_a_metric_that_is_never_reported_is_named(start: Start, write: Callable[..., str]) -> None:
    cells = [{"topk": 4, "reported": {"test/knn/joints": 70}}]
    with pytest.raises(UsageError, match=r"'test/knn/joints' is never reported, did you mean 'test/knn/joint'\?$"):
        start(write(TABLE, cells=cells))
    claims = [{"says": "so", "best": {"topk": 4}, "metrics": ["loss/total"]}]
    with pytest.raises(UsageError, match=r"cells, claims: 'loss/total' is never reported"):
        start(write(TABLE, claims=claims))
