"""The files that a search leaves."""

import csv

from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report import StudyFindings, write_report
from cmd_tune.search.report.cell_results import cells_columns
from cmd_tune.search.report.trials_table import trials_columns
from cmd_tune.search.spaces.comparison import Cell, Comparison
from cmd_tune.settings import Settings

HERE = Conditions("synthetic", "xview", {})

RATES = [0.002, 0.008]


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


def test_no_setting_has_the_name_of_a_column_that_stands_beside_it(make_space, open_study):
    own = trials_columns(open_study(make_space(parameters={"topk": {"values": [4, 6]}}, points_to_evaluate=None)))
    assert own.keys() & Settings.model_fields.keys() == {"topk"}
    table = Comparison("", (Cell({"topk": 4}, {}),), (0,), ())
    assert cells_columns(table, []).keys() & Settings.model_fields.keys() == {"topk"}
