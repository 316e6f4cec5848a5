"""A search before it runs and as it goes on: what it is asked for, what its folder keeps, what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cmd_tune.data.store import Store
from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.runs.run_folder import SEARCH_FILE
from cmd_tune.search.execution import ResourcePlan, ResourceRequest, TrialResources
from cmd_tune.search.plan import Plan, keep_plan, new_plan, resumed_plan
from cmd_tune.search.request import check_request
from cmd_tune.tracking.mlflow.uris import default_uri
from cmd_tune.yaml_files import dump_yaml, read_yaml
from tests.conftest import write_tiny_store


def test_the_plan_says_how_trials_were_laid_out(plan: Callable[..., Plan]) -> None:
    made = plan("loss/total")
    keep_plan(made, ResourcePlan(TrialResources(1, 2.0, 0.5, 2), concurrent=2, learning=2))
    kept = yaml.safe_load((made.folder / "search.yaml").read_text())
    assert kept["layout"].startswith("2 trials at once, ")
    assert kept["per_trial"] == {"workers": 1, "cpus": 2.0, "gpus": 0.5, "threads": 2, "fused": 1}
    assert kept["trials"] == 4


def test_a_resume_leaves_the_environment_that_was_recorded(plan: Callable[..., Plan]) -> None:
    """It may go on with another release, on another machine."""
    folder = plan("loss/total").folder
    kept = read_yaml(folder / SEARCH_FILE)
    assert kept["environment"].keys().isdisjoint({"gpu", "cpu_threads"})  # trials may run elsewhere
    kept["environment"]["python"] = "3.99"
    (folder / SEARCH_FILE).write_text(dump_yaml(kept))
    resumed = resumed_plan(
        folder.name, space_name=None, kept_options={}, storage=folder.parent,
        trials=7, resources=ResourceRequest(), tracking_uri=None,
    )  # fmt: skip
    keep_plan(resumed)
    assert read_yaml(folder / SEARCH_FILE) == {**kept, "trials": 7}


def test_a_resume_replaces_what_it_asks_of_resources_and_nothing_else(plan) -> None:
    folder = plan("loss/total").folder
    first = read_yaml(folder / SEARCH_FILE)
    assert (first["concurrent"], first["workers"], first["gpus_per_worker"]) == (None, 1, None)
    for asked in (ResourceRequest(concurrent=2, gpus_per_worker=0.5), ResourceRequest(workers=4, cpus=3)):
        resumed = resumed_plan(
            folder.name, space_name=None, kept_options={}, storage=folder.parent,
            trials=None, resources=asked, tracking_uri=None,
        )  # fmt: skip
        keep_plan(resumed)
    assert resumed.resources == ResourceRequest(concurrent=2, workers=4, gpus_per_worker=0.5, cpus=3)
    now = {"concurrent": 2, "workers": 4, "gpus_per_worker": 0.5, "cpus": 3}
    assert read_yaml(folder / SEARCH_FILE) == {**first, **now}


def test_a_search_goes_on_with_the_data_it_began_with(make_space, make_store, tmp_path) -> None:
    store, storage = make_store(), tmp_path / "runs"
    sizes = {"trials": None, "resources": ResourceRequest(), "tracking_uri": None}
    options = {**sizes, "protocol": "xsub", "preset": None, "overrides": ["batch_size=8"]}
    new_plan(check_request(str(make_space().path), storage=storage, name="it", data=store.path, **options))
    before = (storage / "it" / "search.yaml").read_bytes()

    def resumed() -> Plan:
        return resumed_plan("it", space_name=None, kept_options={}, storage=storage, **sizes)

    assert resumed().source.protocol == "xsub"
    assert (storage / "it" / "search.yaml").read_bytes() == before
    make_store(seed=1)
    with pytest.raises(UsageError, match=r"search.yaml: data: .*tiny.arrow is no longer what this run began with"):
        resumed()


# Tables: what may change between sessions, and what is refused


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
        return new_plan(check_request(
            space, storage=tmp_path / "runs", name="it", data=tiny_store.path, protocol=None, preset=None,
            overrides=["epochs=5", "batch_size=8"], trials=trials, resources=ResourceRequest(), tracking_uri=None,
        ))  # fmt: skip

    return make


@pytest.fixture
def resume(tmp_path: Path) -> Start:
    def make(space: str | None = None, trials: int | None = None) -> Plan:
        plan = resumed_plan(
            "it", space_name=space, kept_options={}, storage=tmp_path / "runs", trials=trials,
            resources=ResourceRequest(), tracking_uri=None,
        )  # fmt: skip
        keep_plan(plan)
        return plan

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


@pytest.fixture
def damaged(plan: Callable[..., Plan]) -> Callable[..., None]:
    """Resumes a search in whose plan file some keys are changed, or missing if empty."""

    def resume(**changes: object) -> None:
        path = plan("val/knn/fused").folder / SEARCH_FILE
        content = {key: value for key, value in {**read_yaml(path), **changes}.items() if changes.get(key, value) != ""}
        path.write_text(dump_yaml(content), encoding="utf-8")
        resumed_plan(
            path.parent.name, space_name=None, kept_options={}, storage=path.parents[1],
            trials=None, resources=ResourceRequest(), tracking_uri=None,
        )  # fmt: skip

    return resume


OF_THE_PLAN = [
    *("data", "protocol", "dataset", "preset", "settings", "trials", "concurrent", "workers", "gpus_per_worker"),
    "tracking_uri",
]


@pytest.mark.parametrize("key", OF_THE_PLAN)
def test_a_key_that_a_plan_file_lacks_is_named(damaged: Callable[..., None], key: str) -> None:
    with pytest.raises(UsageError, match=rf"search.yaml: {key}: is missing$"):
        damaged(**{key: ""})


def test_all_values_that_a_plan_file_cannot_have_are_named(damaged: Callable[..., None]) -> None:
    with pytest.raises(UsageError) as refused:
        damaged(data=3, workers="two", tracking_uri=None, settings="all")
    places = [line.partition("search.yaml: ")[2].partition(":")[0] for line in refused.value.lines]
    assert places == ["data", "settings", "workers", "tracking_uri"]
    assert refused.value.lines[0].endswith("data: should be a path; found 3")


@pytest.mark.parametrize("change", [{"workers": -1}, {"concurrent": 0}, {"trials": 0}, {"gpus_per_worker": -0.5}])
def test_a_number_that_no_option_takes_is_named(damaged: Callable[..., None], change: dict[str, float]) -> None:
    (key,) = change
    with pytest.raises(UsageError, match=rf"search.yaml: {key}: should be greater than or equal to"):
        damaged(**change)


@pytest.mark.parametrize("earlier", [False, True])
def test_a_search_is_found_in_a_moved_storage(plan: Callable[..., Plan], tmp_path: Path, earlier: bool) -> None:
    store = write_tiny_store(tmp_path / "runs" / "mine.arrow")
    made = plan("loss/total", data=store)
    content = read_yaml(made.folder / SEARCH_FILE)
    assert (content["data"], content["tracking_uri"]) == ("mine.arrow", "sqlite:///mlflow.db")
    if earlier:  # a release that wrote them in full
        content |= {"data": str(store.path), "tracking_uri": default_uri(tmp_path / "runs")}
        (made.folder / SEARCH_FILE).write_text(dump_yaml(content))
    (tmp_path / "runs").rename(tmp_path / "moved")
    again = resumed_plan(made.name, storage=tmp_path / "moved", **NO_CHANGE)
    assert again.source.path == tmp_path / "moved" / "mine.arrow"
    assert again.tracking_uri == default_uri(tmp_path / "moved")
    by_path = resumed_plan(str(tmp_path / "moved" / made.name), storage=tmp_path / "runs", **NO_CHANGE)
    assert by_path == again


NO_CHANGE = {
    "space_name": None, "kept_options": {}, "trials": None, "resources": ResourceRequest(), "tracking_uri": None,
}  # fmt: skip


def test_the_same_store_may_be_named_at_another_place(
    plan: Callable[..., Plan], tiny_store: Store, tmp_path: Path
) -> None:
    """Of the data that a search has, and no other; a refusal leaves the plan as it was."""
    store = write_tiny_store(tmp_path / "a.arrow")
    made = plan("loss/total", data=store)
    kept = (made.folder / "search.yaml").read_bytes()
    store.path.rename(tmp_path / "b.arrow")
    other = write_tiny_store(tmp_path / "other.arrow", seed=1)

    def resumed(data: Path | None) -> Plan:
        return resumed_plan(made.name, storage=tmp_path / "runs", data=data, **NO_CHANGE)

    with pytest.raises(CmdTuneError, match=r"a.arrow: no such file"):
        resumed(None)
    with pytest.raises(UsageError) as refused:
        resumed(other.path)
    (line,) = refused.value.lines
    assert (
        line == f"--data {other.path}: holds other clips than it-0 began with; name the same store, or start a new run"
    )
    assert (made.folder / "search.yaml").read_bytes() == kept
    moved = resumed(tmp_path / "b.arrow")
    assert moved.source.path == tmp_path / "b.arrow"
    keep_plan(moved)
    assert resumed(None).source.path == tmp_path / "b.arrow"
