"""A table of two cells with three claims, whose trials are scored 200 clips each, and its report."""

import io

from rich.console import Console

from cmd_tune.evaluate.tally import Tally
from cmd_tune.runs.pretrain_and_score import Conditions
from cmd_tune.search.report import SearchReport, StudyFindings, write_report
from cmd_tune.search.study.study import SearchStudy

CELLS = [
    {"topk": 4, "reported": {"test/knn/joint": 70.0, "test/linear/joint": 80.0}},
    {"topk": 8, "reported": {"test/knn/joint": 71.5}},
]
CLAIMS = [
    {"says": "eight is better", "best": {"topk": 8}, "metrics": ["test/knn/joint"]},
    {"says": "four is better", "best": {"topk": 4}, "metrics": ["test/knn/joint"]},
    {"says": "no matter", "flat": [{"topk": 4}, {"topk": 8}], "margin": 9, "metrics": ["test/knn/joint"]},
]
RAW = {"test/knn/joint": 55.0, "val/knn/joint": 1.0}
UNTRAINED = {"test/knn/joint": 44.0, "test/linear/joint": 46.0}
ORIGIN = {
    "by": "Them, 2020",
    "dataset": "synthetic",
    "protocol": "xview",
    "probes": {"knn": "1-NN", "linear": "solved"},
}
HERE = Conditions("synthetic", "xview", {"val": 50, "test": 200})
METRICS = ("test/knn/joint", "test/linear/joint")
SUBJECTS = Tally([50, 50, 60, 40], {"test/knn/joint": [40, 20, 42, 20], "test/linear/joint": [30, 30, 36, 24]}, True)


def reported_on(**changes: object) -> dict[str, object]:
    """ORIGIN with keys changed; None leaves a key out."""
    return {key: value for key, value in {**ORIGIN, **changes}.items() if value is not None}


def findings_of_table(study: SearchStudy, where: Conditions = HERE) -> StudyFindings:
    return StudyFindings(study, RAW, UNTRAINED, where)


def report_of(study: SearchStudy, where: Conditions = HERE) -> tuple[SearchReport, str, str]:
    """(the report, report.md, what is printed)."""
    report = write_report(findings_of_table(study, where))
    printed = io.StringIO()
    Console(file=printed, width=80).print(report.closing)
    return report, (study.folder / "report.md").read_text(), printed.getvalue()
