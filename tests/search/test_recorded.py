"""What MLflow gets of a run beside its scores."""

import pytest

from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.run_records import run_note
from cmd_tune.search.execution.resources import Machine
from cmd_tune.search.plan import Plan
from cmd_tune.search.recorded import search_note, search_page, trial_note, trial_tags


@pytest.fixture
def make_plan(tiny, tiny_store, tmp_path):
    """A plan of four trials of three epochs for a space."""

    def make(space):
        return Plan(
            folder=tmp_path / "runs" / "it",
            space=space,
            preset="quick",
            settings=tiny(),
            source=DataSource(tiny_store.path, "xview"),
            dataset="synthetic",
            trials=4,
            concurrent=None,
            workers=1,
            gpus_per_worker=None,
            tracking_uri="sqlite:///mlflow.db",
        )

    return make


@pytest.mark.parametrize(("goal", "ascending"), [("maximize", False), ("minimize", True)])
def test_a_search_is_shown_best_first_with_four_parameters(make_space, make_plan, goal, ascending):
    names = ("teacher_temperature", "student_temperature", "learning_rate", "weight_decay", "shear_range")
    parameters = {name: {"min": 0.01, "max": 0.2} for name in names}
    metric = {"name": "loss/total", "goal": goal}
    page = search_page(make_plan(make_space(parameters=parameters, points_to_evaluate=None, metric=metric)))
    assert page.metrics == ("loss/total", "val/knn/fused", "test/knn/fused", "cost/seconds")
    assert page.params == names[:4]
    assert (page.order, page.ascending) == ("loss/total", ascending)


def test_a_table_is_shown_as_it_came(make_space, make_plan):
    absent = dict.fromkeys(("parameters", "points_to_evaluate", "budget"))
    page = search_page(make_plan(make_space(method="cells", cells=[{"topk": 4}, {"topk": 6}], **absent)))
    assert (page.order, page.params) == ("", ("topk", "seed"))
    assert page.metrics == ("val/knn/fused", "test/knn/fused", "cost/seconds")


def test_the_note_of_a_search_says_what_is_asked_and_how_to_go_on(make_space, make_plan):
    plan = make_plan(make_space())
    note = search_note(plan, Machine(1, 1.0, 0.0, 1, 2, 2))
    what, folder, resume = note.split("\n\n")
    assert what == (
        "Method tpe, 4 trials over teacher_temperature, student_temperature; the best has the highest val/knn/fused. "
        "Preset quick, 3 epochs; 2 trials at once, 1 worker a trial, 1 CPU and no GPU a worker."
    )
    assert folder == f"Folder: `{plan.folder}` (search.yaml, trials.csv, trials/)"
    assert f" -m cmd_tune search --resume it --storage {plan.folder.parent}`" in resume
    assert run_note(what, plan.folder, "search.yaml, trials.csv, trials/", "search") == note


def test_the_tags_of_a_trial(make_space, open_book):
    book = open_book(make_space())
    entry = book.next()
    book.end(entry, failure="out of memory")
    assert trial_tags(entry) == {"cmd_tune.state": "failed"}
    note = trial_note(entry)
    assert note.startswith("trial-000 of search: teacher_temperature 0.05, student_temperature 0.1.\n")
    assert f"`{entry.folder}`" in note
