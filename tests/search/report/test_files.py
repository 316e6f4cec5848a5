"""The text files that a study leaves: rows and columns by hand, and what is read back from them."""

import csv
import io
import json
from itertools import pairwise

import pytest

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report import StudyFindings, write_report
from cmd_tune.search.report.files import (
    FILES,
    baselines_yaml,
    best_yaml,
    cells_csv,
    kept_baselines,
    trials_csv,
    trials_json,
)
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.settings import read_settings
from tests.search.report.made_up import made_up
from tests.search.report.tables import findings_of_table

HERE = Conditions("synthetic", "xview", {})
RATES = [0.002, 0.008]


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_what_was_stopped_early_has_no_rank_and_what_finished_last_best_is_first(ended):
    study = ended([10, 20, 30], [99], [40, 45, 50], [97, 98], [99, 99], failed=[4])
    findings = StudyFindings(study, {}, {}, HERE)
    assert [(row["trial"], row["state"], row["epoch"], row["rank"]) for row in rows_of(trials_csv(findings))] == [
        ("trial-000", "finished", "3", "2"),
        ("trial-001", "stopped early", "1", ""),
        ("trial-002", "finished", "3", "1"),
        ("trial-003", "stopped early", "2", ""),
        ("trial-004", "failed", "2", ""),
    ]


def test_the_best_trials_settings_are_read_back_as_they_were(ended):
    study = ended([10, 20, 30], [99], [40, 45, 50])
    write_report(StudyFindings(study, {}, {}, HERE))
    path = study.folder / "best.yaml"
    assert path.read_text(encoding="utf-8").startswith("# trial-002 of search: val/knn/fused 50.00\n")
    best = read_settings(path)
    assert best["teacher_temperature"] == study.trials[2].values["teacher_temperature"]
    assert best == study.settings_of(study.trials[2]).model_dump(mode="json")


def test_where_nothing_finished_there_is_no_best(ended):
    study = ended([99], [98], [97], running=[2])
    write_report(StudyFindings(study, {}, {}, HERE))
    assert not (study.folder / "best.yaml").exists()


def test_a_parameter_keeps_its_column_where_a_metric_has_its_name(make_space, open_study):
    """The loop reports the schedule's rate as learning_rate: at the end of a cosine it is next to 0."""
    space = make_space(
        parameters={"learning_rate": {"values": RATES}, "topk": {"value": 6}}, points_to_evaluate=None, method="grid"
    )
    study = open_study(space, trials=2)
    for _ in RATES:
        trial = study.next()
        for epoch in (1, 2, 3):
            left = {"learning_rate": 1e-9 * epoch, "topk": 0.5, "loss/total": 2.0, "val/knn/fused": 50.0}
            study.record(trial, {"epoch": epoch, **left})
        study.end(trial)
    write_report(StudyFindings(study, {}, {}, HERE))
    with (study.folder / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["learning_rate"]) for row in rows] == RATES
    assert [row["topk"] for row in rows] == ["6", "6"]
    assert [row["loss/total"] for row in rows] == ["2.0", "2.0"]
    assert f"learning_rate: {RATES[0]}\n" in (study.folder / "best.yaml").read_text(encoding="utf-8")


def test_scores_are_written_as_a_person_does_and_values_to_the_last_digit(make_space, open_study):
    study = open_study(make_space())
    trial = study.next()
    trial.values["teacher_temperature"] = 0.012345678901234567
    scores = {"loss/total": 5.8321456789, "val/knn/fused": 100 * 37 / 287, "seconds": 3.14159265}
    study.record(trial, {"epoch": 3, **scores})
    study.end(trial)
    findings = StudyFindings(study, {}, {}, HERE)
    (row,) = rows_of(trials_csv(findings))
    assert (row["loss/total"], row["val/knn/fused"]) == ("5.83215", "12.89")
    assert float(row["teacher_temperature"]) == trial.values["teacher_temperature"]
    (listed,) = json.loads(trials_json(findings))
    assert listed["values"] == trial.values
    assert listed["scores"] == {"loss/total": 5.83215, "val/knn/fused": 12.89}
    assert listed["seconds"] == 3.1


def test_the_list_of_trials_has_states_ranks_and_fresh_seeds(tmp_path, tiny):
    study = made_up(tmp_path / "search", tiny, 12, fresh=2).study
    listed = json.loads(trials_json(StudyFindings(study, {}, {}, HERE)))
    assert [trial["number"] for trial in listed] == list(range(12))
    assert [trial["rank"] is None for trial in listed] == [str(t.state) != "finished" for t in study.trials.values()]
    assert (listed[11]["state"], listed[11]["reason"], listed[11]["epochs"]) == ("failed", "the loss is nan", 2)
    (first,) = (trial for trial in listed if trial["rank"] == 1)
    best = study.ranked()[0]
    assert first["number"] == best.index
    assert first["seconds"] == 120
    assert first["fresh_seeds"] == {str(seed): round(score, 2) for seed, score in study.confirmed(best).items()}


def test_the_best_trial_has_the_path_to_it(tmp_path, tiny):
    findings = made_up(tmp_path / "search", tiny, 40, fresh=3, asked=Ablation(seeds=3))
    listed = json.loads(trials_json(findings))
    (steps,) = (trial["ablation"] for trial in listed if trial["ablation"])
    assert steps is listed[findings.best.index]["ablation"]
    assert [step["values"] for step in steps] == [dict(step.values) for step in findings.path.steps]
    assert (steps[0]["changed"], steps[0]["difference"], steps[0]["failed"]) == ([], None, [])
    for step, (before, found) in zip(steps[1:], pairwise(findings.path.steps), strict=True):
        gains = [found.scores[seed] - before.scores[seed] for seed in (1, 2, 3)]
        assert step["difference"]["mean"] == pytest.approx(sum(gains) / 3, rel=1e-5)
        assert step["difference"]["interval"] == pytest.approx(found.change.interval, rel=1e-5)
        assert step["scores"] == {str(seed): round(score, 2) for seed, score in found.scores.items()}


def test_baselines_are_read_back_as_they_were_and_are_absent_where_none_were_scored(ended, tmp_path):
    study = ended([10, 20, 30])
    assert baselines_yaml(StudyFindings(study, {}, {}, HERE)) is None
    assert kept_baselines(tmp_path) is None
    raw, untrained = {"test/knn/joint": 55.25, "val/knn/fused": 1 / 3}, {}
    text = baselines_yaml(StudyFindings(study, raw, untrained, HERE))
    (tmp_path / "baselines.yaml").write_text(text, encoding="utf-8")
    assert kept_baselines(tmp_path) == (raw, untrained)


def test_a_search_has_no_cells_and_a_table_no_best(ended, table_space, played, tmp_path):
    search = StudyFindings(ended([10, 20, 30]), {}, {}, HERE)
    assert cells_csv(search) is None
    (tmp_path / "search").rename(tmp_path / "done")
    table = findings_of_table(played(table_space([0]), {(4, 0): 40, (8, 0): 90}))
    assert best_yaml(table) is None
    assert "rank" not in trials_csv(table).splitlines()[0].split(",")
    assert list(FILES) == ["trials.csv", "trials.json", "baselines.yaml", "best.yaml", "cells.csv"]


def test_cells_have_a_row_per_metric_and_empty_fields_where_nothing_was_reported(table_space, played):
    study = played(table_space([0, 1, 2]), {(4, s): x for s, x in enumerate((61, 62, 63))} | {(8, 0): 70, (8, 2): 74})
    findings = findings_of_table(study)
    lines = rows_of(cells_csv(findings))
    assert [(line["topk"], line["metric"], line["seeds"]) for line in lines] == [
        ("4", "test/knn/joint", "3"), ("8", "test/knn/joint", "2"),
        ("4", "test/linear/joint", "3"), ("8", "test/linear/joint", "2"),
    ]  # fmt: skip
    assert (float(lines[0]["mean"]), float(lines[0]["difference"]), lines[0]["interval"]) == (62, -8, "t over seeds")
    assert float(lines[0]["low"]) == findings.comparison.results[0].interval[0]
    assert (lines[3]["reported"], lines[3]["difference"]) == ("", "")
