"""Whole reports of tables: numbers by hand, the files, what is printed, what a second look says, what fails."""

import csv
import io
import re

from rich.console import Console

from cmd_tune.runs.ending import Ending
from cmd_tune.search.report import StudyFindings, print_report, write_report
from tests.search.report.tables import CLAIMS, HERE, report_of, reported_on


def test_verdicts_baselines_and_figures_stand_in_the_report(table_space, played):
    knn = {(4, s): x for s, x in enumerate((61, 62, 63, 62))} | {(8, s): x for s, x in enumerate((65.5, 67, 68, 67))}
    report, text, printed = report_of(played(table_space([0, 1, 2, 3]), knn))
    assert text.startswith("# A table\n")
    assert "| 4 | 62.0 (60.7–63.3) | 70.0 | -8.0 | 60.0 (60.0–60.0) | 80.0 | -20.0 |" in text
    assert "| 8 | 66.9 (65.2–68.5) | 71.5 | -4.6 | 60.0 (60.0–60.0) | – | – |" in text
    assert "\nReported: Them, 2020, synthetic xview.\n" in text
    assert "| untrained | 44.0 |  |  | 46.0 |  |  |" in text
    assert "| raw 1-NN | 55.0 |  |  | 55.0 |  |  |" in text  # bare skeletons have no probe; the floor is the same
    assert "### eight is better: holds\n" in text
    assert "### four is better: does not\n" in text
    assert "### no matter: holds\n" in text
    assert "margin 9 points" in text
    assert "| test/knn/joint | topk 8 | topk 4 | 4 | +4.88 (+4.48 to +5.27) | < 0.001 | 1.000 |" in text
    assert "8 of 8 trials finished. Test set: 200 clips; one is 0.50 points." in text
    verdicts = re.findall(r"^((?:holds|does not|cannot tell) .*?)(?: \(|$)", printed, re.MULTILINE)
    assert verdicts == [
        "holds       eight is better",
        "does not    four is better",
        "holds       no matter",
    ]
    # By Student's table t(3, 97.5 %) = 3.182; of 61, 62, 63, 62 s = 0.8165: 3.182 · 0.8165 / 2 = 1.3.
    assert re.search(r"^ +4 +62\.0 ± 1\.3 +70\.0 +-8\.0 +60\.0 ± 0\.0 +80\.0 +-20\.0 *$", printed, re.MULTILINE)
    names = [path.name for path in report.files]
    assert names == [
        "trials.csv",
        "trials.json",
        "baselines.yaml",
        "cells.csv",
        "table.png",
        "report.md",
        "report.html",
        "looks.json",
    ]
    assert all(path.exists() for path in report.files)
    assert "![The table as a figure](table.png)" in text
    assert report.baselines["raw"]["test/knn/joint"] == 55.0


def test_nothing_is_picked_by_its_score(table_space, played):
    """Cells stand as the file has them, whoever is best, and every finished trial is a finalist."""
    study = played(table_space([0, 1]), {(4, 0): 40, (4, 1): 41, (8, 0): 90, (8, 1): 91})
    assert len(study.finalists(3)) == 4
    report, text, _ = report_of(study)
    assert text.index("| 4 |") < text.index("| 8 |")
    assert not (study.folder / "best.yaml").exists()
    assert not any(name.startswith("best/") for name in report.metrics)


def test_what_is_left_out_stands_nowhere_and_one_line_says_why(table_space, played):
    study = played(
        table_space([0, 1], reported_on=reported_on(protocol="xsub")), {(k, s): 50 for k in (4, 8) for s in (0, 1)}
    )
    _, text, printed = report_of(study)
    for place in (text, printed):
        words = " ".join(place.split())
        assert words.count("are left out: they are of synthetic xsub, these of synthetic xview.") == 1
        assert "71.5" not in words
    assert "| topk | test/knn/joint | test/linear/joint |\n" in text
    with (study.folder / "cells.csv").open() as file:
        assert {(row["reported"], row["difference"]) for row in csv.DictReader(file)} == {("", "")}


def test_more_seeds_are_a_second_look_and_the_report_says_so(table_space, played):
    """Eight is above four by 1, 2, 3 (p = 0.037), and by 1, 2, 3, 1 (0.018): enough for a first look alone."""
    claims = [CLAIMS[0], {**CLAIMS[2], "margin": 5.0}]
    knn = {(4, s): 60.0 for s in range(4)} | {(8, s): 60.0 + gain for s, gain in enumerate((1, 2, 3, 1))}
    _, text, printed = report_of(played(table_space([0, 1, 2], claims=claims), knn))
    first = "Of 1 comparison, 0 for it and 0 against it; first look, 3 seeds a cell, tested at 2.5 %."
    assert f"### eight is better: cannot tell\n\n{first}\n" in text
    assert "Each further look at a claim, with more seeds, is tested at half the level" in " ".join(printed.split())
    second = "look 2, 4 seeds a cell, tested at 1.25 %, look 1 with 3 gave 'cannot tell'"
    for _ in range(2):  # the same scores again are no third look
        _, text, printed = report_of(played(table_space([0, 1, 2, 3], claims=claims), knn))
        assert f"### eight is better: cannot tell\n\nOf 1 comparison, 0 for it and 0 against it; {second}.\n" in text
        assert f"eight is better (of 1 comparison, 0 for it and 0 against it; {second})" in " ".join(printed.split())
    more = [*claims, {**CLAIMS[2], "says": "hardly", "margin": 3.0}]
    _, text, _ = report_of(played(table_space([0, 1, 2, 3], claims=more), knn))
    late = "look 3, 4 seeds a cell, tested at 0.625 %, first stated after look 2, when scores had been seen"
    assert f"; margin 3 points; {late}.\n" in text
    assert f"; {second}.\n" in text  # what stands there already is not looked at again


def test_a_verdict_that_more_seeds_undo_is_not_forgotten(table_space, played):
    """By 1, 2, 3, 1 (p = 0.018, enough for a first look), and by 0 with a fifth seed (0.026)."""
    knn = {(4, s): 60.0 for s in range(5)} | {(8, s): 60.0 + gain for s, gain in enumerate((1, 2, 3, 1, 0))}
    report_of(played(table_space([0, 1, 2, 3], claims=CLAIMS[:1]), knn))
    _, text, _ = report_of(played(table_space([0, 1, 2, 3, 4], claims=CLAIMS[:1]), knn))
    assert "### eight is better: cannot tell\n" in text
    now = "look 2, 5 seeds a cell, tested at 1.25 %"
    assert f"\nOf 1 comparison, 0 for it and 0 against it; {now}, look 1 with 4 gave 'holds'.\n" in text


def test_a_file_that_cannot_be_written_takes_no_other_with_it(table_space, played):
    space = table_space([0])
    study = played(space, {(4, 0): 61, (8, 0): 70})
    (study.folder / "table.png").mkdir()
    ending = Ending(study.folder)
    report = write_report(StudyFindings(study, {}, {}, HERE), attempt=ending.attempt)
    assert [path.name for path in report.files] == [
        "trials.csv",
        "trials.json",
        "cells.csv",
        "report.md",
        "report.html",
    ]
    assert ending.troubles == [f"table.png: {study.folder / 'table.png'}: cannot be written: Is a directory"]


def printed_after(report, study):
    file = io.StringIO()
    print_report(Console(file=file, width=30), study, report)
    return file.getvalue().splitlines()


def test_why_trials_failed_and_why_there_are_no_more_stands_in_a_line_each_however_narrow(make_space, open_study):
    space = make_space(method="grid", parameters={"topk": {"values": [4, 6]}}, points_to_evaluate=None, budget=None)
    study = open_study(space, trials=5)
    for failure in ("the loss is [bold]nan[/bold] in epoch 1; lower learning_rate", ""):
        trial = study.next()
        study.record(trial, {"epoch": 3, "loss/total": 1.0, "val/knn/fused": 50.0})
        study.end(trial, failure=failure)
    assert study.next() is None
    report = write_report(StudyFindings(study, {}, {}, HERE))
    assert printed_after(report, study)[-2:] == [
        "trial-000 failed: the loss is [bold]nan[/bold] in epoch 1; lower learning_rate",
        "2 of 5 trials: every cell has been run",
    ]
    study.budget = None
    assert printed_after(report, study)[-1] == "2 trials: every cell has been run"
