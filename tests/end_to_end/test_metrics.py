"""A search that an accuracy, a size and a time judge, from its file to its front in every place that shows it."""

import json

import optuna
import pytest

from tests.end_to_end.searches import GRID, finish, mlflow_runs, search, start, trials

pytestmark = [pytest.mark.long, pytest.mark.slow]

NAMES = ("val/knn/fused", "cost/parameters", "cost/seconds")


def test_a_search_by_three_metrics_has_the_front_of_its_trials_everywhere(tiny_store, tmp_path):
    branches = [["joint", "motion"], ["joint", "bone"], ["joint", "motion", "bone"]]
    parameters = {"modalities": {"values": branches}}
    space = {**GRID, "metric": None, "metrics": [{"name": name} for name in NAMES], "parameters": parameters}
    space = {key: value for key, value in space.items() if value is not None}
    output = finish(search(tmp_path, tiny_store, space, "--concurrent", "1"))
    folder = tmp_path / "runs" / "it"
    rows = trials(tmp_path)
    assert [row["state"] for row in rows] == ["finished"] * 3

    # Of each branch: the norm of 60 channels, two layers of two GRUs of 8, and a head from 16 to 8.
    weights = 2 * 60 + 2 * 24 * (60 + 8 + 2) + 2 * 24 * (16 + 8 + 2) + 16 * (16 + 1) + 8 * (16 + 1)
    for row, modalities in zip(rows, branches, strict=True):
        assert float(row["cost/parameters"]) == len(modalities) * weights
        history = [json.loads(line) for line in (folder / "trials" / row["trial"][-3:] / "history.jsonl").open()]
        assert float(row["cost/seconds"]) == pytest.approx(sum(epoch["seconds"] for epoch in history), abs=0.01)

    study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder / 'study.db'}")
    assert study.metric_names == list(NAMES)
    front = {f"trial-{trial.number:03d}" for trial in study.best_trials}
    assert front & {"trial-000", "trial-001"}  # the smallest
    assert {row["trial"] for row in rows if row["front"] == "True"} == front
    best = next(row["trial"] for row in rows if row["rank"] == "1")
    assert best in front
    _, runs = mlflow_runs(tmp_path)
    assert {name for name, run in runs.items() if run.data.tags.get("cmd_tune.front") == "yes"} == front
    assert runs["trial-002"].data.metrics["cost/parameters"] == float(rows[2]["cost/parameters"])
    assert f"Pareto front by {', '.join(NAMES)}: {best} (" in " ".join(output.split())
    assert "## Pareto front" in (folder / "report.md").read_text()
    assert (folder / "pareto-front.png").stat().st_size > 1000

    listed = json.loads(finish(start("-m", "cmd_tune", "searches", "--json", cwd=tmp_path)))
    assert f"trial-{listed[0]['best']['trial']:03d}" == best
    assert "metric" in finish(start("-m", "cmd_tune", "compare", "it", "it", cwd=tmp_path))
