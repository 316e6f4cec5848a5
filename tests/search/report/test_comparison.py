"""The report of a table: numbers by hand, the files, what is said of claims, and what is left out."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cmd_tune.evaluate.intervals import clustered_interval, wilson_interval
from cmd_tune.evaluate.tally import Tally, write_tally
from cmd_tune.runs.ending import Ending
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY, UNTRAINED_TALLY, Conditions
from cmd_tune.search.plan import read_space
from cmd_tune.search.report import SearchReport, StudyFindings, write_report
from cmd_tune.search.report.cell_results import cell_results
from cmd_tune.search.report.left_out import left_out
from cmd_tune.search.report.power import seeds_needed
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.spaces.space_file import find_space
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


@pytest.fixture
def table_space(make_space: Callable[..., Space]) -> Callable[..., Space]:
    def make(seeds: list[int], **changes: object) -> Space:
        absent = dict.fromkeys(("parameters", "points_to_evaluate", "budget"))
        usual = {"method": "cells", "title": "A table", "cells": CELLS, "claims": CLAIMS, "seeds": seeds}
        usual["reported_on"] = ORIGIN
        return make_space(**{**absent, **usual, **changes})

    return make


@pytest.fixture
def played(open_study: Callable[..., SearchStudy]) -> Callable[..., SearchStudy]:
    """A study whose trials have run, with test scores {(topk, seed): KNN}; others fail. Linear is always 60."""

    def play(space: Space, knn: dict[tuple[int, int], float]) -> SearchStudy:
        study = open_study(space, trials=100)
        while (trial := study.next()) is not None:
            score = knn.get((trial.values["topk"], trial.values["seed"]))
            if score is None:
                study.end(trial, failure="the loss is nan in epoch 1")
                continue
            for epoch in (1, 2, 3):
                study.record(trial, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": 10.0 * epoch})
            study.end(trial)
            study.record_test(trial, {"test/knn/joint": score, "test/linear/joint": 60.0})
        return study

    return play


def report_of(study: SearchStudy, where: Conditions = HERE) -> tuple[SearchReport, str, str]:
    """(the report, report.md, what is printed)."""
    report = write_report(StudyFindings(study, RAW, UNTRAINED, where))
    printed = io.StringIO()
    Console(file=printed, width=80).print(report.closing)
    return report, (study.folder / "report.md").read_text(), printed.getvalue()


def test_means_intervals_and_differences(table_space, played):
    study = played(table_space([0, 1, 2]), {(4, s): x for s, x in enumerate((61, 62, 63))} | {(8, 0): 70, (8, 2): 74})
    rows = {
        (m.cell.values["topk"], m.metric): m for m in cell_results(study, study.space.comparison, HERE.queries, METRICS)
    }
    four, eight = rows[4, "test/knn/joint"], rows[8, "test/knn/joint"]
    assert (four.mean, four.reported, four.difference) == (62, 70, -8)
    assert four.interval == pytest.approx((62 - 4.30265 / 3**0.5, 62 + 4.30265 / 3**0.5), abs=1e-4)
    assert (eight.mean, eight.difference, eight.scores) == (72, 0.5, {0: 70, 2: 74})
    assert rows[8, "test/linear/joint"].difference is None  # nothing was reported of it
    with (report_folder(study) / "cells.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["topk"], line["metric"], line["seeds"]) for line in lines] == [
        ("4", "test/knn/joint", "3"), ("8", "test/knn/joint", "2"),
        ("4", "test/linear/joint", "3"), ("8", "test/linear/joint", "2"),
    ]  # fmt: skip
    assert (float(lines[0]["mean"]), float(lines[0]["difference"]), lines[0]["interval"]) == (62, -8, "t over seeds")
    assert float(lines[0]["low"]) == four.interval[0]
    assert (lines[3]["reported"], lines[3]["difference"]) == ("", "")


def report_folder(study: SearchStudy) -> Path:
    report_of(study)
    return study.folder


def test_a_single_seed_has_wilsons_interval_of_the_test_set(table_space, played):
    study = played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0})
    (four, *_) = cell_results(study, study.space.comparison, HERE.queries, METRICS)
    assert four.interval == wilson_interval(61.0, 200)
    assert four.method == "Wilson over clips as if independent"
    _, text, printed = report_of(study)
    said = "Percent right, mean ± half its 95 % interval (one seed: Wilson over clips as if independent)."
    assert said in " ".join(printed.split())
    assert text.count(": cannot tell\n") == 3
    assert "1 seed in common; 3 are needed" in text


SUBJECTS = Tally([50, 50, 60, 40], {"test/knn/joint": [40, 20, 42, 20], "test/linear/joint": [30, 30, 36, 24]}, True)


def test_clips_of_a_subject_are_taken_together_where_they_were_counted_so(table_space, played):
    """122 of 200 clips right, 80 % of one subject's and 40 % of another's: not 54.1–67.5, but thrice as wide."""
    study = played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0})
    write_tally(study.trials[0].folder / TEST_TALLY, SUBJECTS)
    write_tally(study.folder / UNTRAINED_TALLY, SUBJECTS)
    write_tally(study.folder / RAW_TALLY, replace(SUBJECTS, by_subject=False))
    four, eight, *_ = cell_results(study, study.space.comparison, HERE.queries, METRICS)
    low, high = clustered_interval([40, 20, 42, 20], [50, 50, 60, 40])
    assert four.interval == (low, high)
    assert (four.method, eight.method) == ("Wilson over clips, by subject", "Wilson over clips as if independent")
    assert high - low > 3 * (wilson_interval(61.0, 200)[1] - wilson_interval(61.0, 200)[0])
    _, text, printed = report_of(study)
    assert f"| 4 | 61.0 ({low:.1f}–{high:.1f}) |" in text
    together = "over 200 clips, those of each of 4 subjects taken together"
    assert f"\nIntervals of baselines, and of cells with one seed, are {together}.\n" in text
    assert f"| untrained | 44.0 ({low:.1f}–{high:.1f}) |" in text
    assert "| raw 1-NN | 55.0 (54.1–67.5) |" in text  # as the counts have it, which are not those of the score here
    assert re.search(rf"^ *untrained +44.0 ± {(high - low) / 2:.1f} ", printed, re.MULTILINE)


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
    assert names == ["trials.csv", "baselines.yaml", "cells.csv", "table.png", "report.md", "looks.json"]
    assert all(path.exists() for path in report.files)
    assert "![The table as a figure](table.png)" in text
    assert report.metrics["baseline/raw/test/knn/joint"] == 55.0


def test_settings_stand_below_their_names_however_a_cell_lists_them(table_space, played):
    cells = [{"topk": 4, "teacher_temperature": 0.05}, {"teacher_temperature": 0.02, "topk": 8}]
    space = table_space([0], cells=cells, claims=[])
    _, text, printed = report_of(played(space, {(4, 0): 61, (8, 0): 62}))
    assert "| topk | teacher_temperature | val/knn/fused |\n" in text
    assert [line[:11] for line in text.splitlines() if line.startswith(("| 4 ", "| 8 "))] == [
        "| 4 | 0.05 ",
        "| 8 | 0.02 ",
    ]
    assert re.search(r"^ +8 +0\.02 ", printed, re.MULTILINE)


def test_trials_that_failed_are_named_and_count_nowhere(table_space, played):
    _, text, _ = report_of(played(table_space([0, 1]), {(4, 0): 61, (4, 1): 63}))
    assert "2 of 4 trials finished" in text
    assert "trial-001 failed (topk 8, seed 0): the loss is nan in epoch 1" in text
    assert "| 8 | – | 71.5 | – | – | – | – |" in text
    assert "0 seeds in common; 3 are needed" in text


def test_a_table_nobody_reported_on_shows_the_searchs_metric(table_space, played):
    space = table_space([0, 1], cells=[{"topk": 4}, {"topk": 8}], claims=[], title=None)
    _, text, _ = report_of(played(space, {(k, s): 50 for k in (4, 8) for s in (0, 1)}))
    assert "| topk | val/knn/fused |\n" in text
    assert "| 4 | 30.0 (30.0–30.0) |\n" in text  # of the last epoch
    assert "## Claims" not in text


def test_nothing_is_picked_by_its_score(table_space, played):
    """Cells stand as the file has them, whoever is best, and every finished trial is a finalist."""
    study = played(table_space([0, 1]), {(4, 0): 40, (4, 1): 41, (8, 0): 90, (8, 1): 91})
    assert len(study.finalists(3)) == 4
    report, text, _ = report_of(study)
    assert text.index("| 4 |") < text.index("| 8 |")
    assert not (study.folder / "best.yaml").exists()
    assert not any(name.startswith("best/") for name in report.metrics)


def test_a_book_goes_on_with_what_a_longer_table_lacks(table_space, open_study):
    def values(study: SearchStudy) -> list[tuple[int, int]]:
        found = []
        while (trial := study.next()) is not None:
            found.append((trial.values["topk"], trial.values["seed"]))
            if found[-1] != (8, 0):  # left running, as a kill would
                study.end(trial, failure="over")
        return found

    assert values(open_study(table_space([0]), trials=100)) == [(4, 0), (8, 0)]
    assert values(open_study(table_space([0, 1]), trials=100)) == [(8, 0), (4, 1), (8, 1)]
    more = table_space([0, 1], cells=[{"topk": 2}, *CELLS])
    study = open_study(more, trials=100)
    assert values(study) == [(8, 0), (2, 0), (2, 1)]
    assert len({tuple(sorted(trial.values.items())) for trial in study.trials.values()}) == len(study.trials) == 6


def test_a_smaller_budget_runs_whole_rounds_of_seeds_first(table_space, open_study):
    study = open_study(table_space([0, 1, 2]), trials=3)
    assert [tuple(study.next().values.values()) for _ in range(3)] == [(4, 0), (8, 0), (4, 1)]
    assert study.next() is None


def changed(**changes: object) -> dict[str, object]:
    return {key: value for key, value in {**ORIGIN, **changes}.items() if value is not None}


LEFT_OUT = [
    (None, HERE, "the space file does not say what they were measured on (reported_on: "),
    (changed(dataset="ntu-60"), HERE, "they are of ntu-60 xview, these of synthetic xview"),
    (changed(protocol="xsub"), HERE, "they are of synthetic xsub, these of synthetic xview"),
    (
        ORIGIN,
        replace(HERE, partial="(published: 9 and 9)"),
        "this synthetic xview is not the whole one (published: 9 and",
    ),
    (changed(probes={"knn": "5-NN", "linear": "5-NN"}), HERE, "their probe is 5-NN, ours"),
    (changed(probes={}), HERE, "their probe is not named, ours"),
]


@pytest.mark.parametrize(("origin", "where", "why"), LEFT_OUT)
def test_what_was_reported_of_something_else_is_left_out(table_space, origin, where, why):
    apart = left_out(table_space([0], reported_on=origin).comparison.origin, METRICS, where)
    assert list(apart) == list(METRICS)
    assert all(reason.startswith(why) for reason in apart.values())


def test_what_is_left_out_stands_nowhere_and_one_line_says_why(table_space, played):
    study = played(
        table_space([0, 1], reported_on=changed(protocol="xsub")), {(k, s): 50 for k in (4, 8) for s in (0, 1)}
    )
    _, text, printed = report_of(study)
    for place in (text, printed):
        words = " ".join(place.split())
        assert words.count("are left out: they are of synthetic xsub, these of synthetic xview.") == 1
        assert "71.5" not in words
    assert "| topk | test/knn/joint | test/linear/joint |\n" in text
    with (study.folder / "cells.csv").open() as file:
        assert {(row["reported"], row["difference"]) for row in csv.DictReader(file)} == {("", "")}


def test_only_the_metric_of_another_probe_is_left_out(table_space, played):
    origin = changed(probes={"knn": "1-NN", "linear": "SGD over 80 epochs"})
    study = played(table_space([0, 1], reported_on=origin), {(k, s): 50 for k in (4, 8) for s in (0, 1)})
    _, text, _ = report_of(study)
    assert (
        "| topk | test/knn/joint | test/knn/joint, reported | test/knn/joint, difference | test/linear/joint |" in text
    )
    why = "their probe is SGD over 80 epochs, ours solved"
    assert f"\nReported accuracies of test/linear/joint are left out: {why}.\n" in text


def test_the_papers_tables_are_not_set_beside_other_data():
    """Nor their linear accuracies, which are of another probe, beside those of their own data."""
    tables = [read_space(find_space(f"table{n}")).comparison for n in (1, 2, 3)]
    ucla, ntu = Conditions("nw-ucla", "xview", {}), Conditions("ntu-60", "xsub", {})
    for table in tables:
        assert set(left_out(table.origin, table.metrics(), ucla)) == set(table.metrics())
        assert set(left_out(table.origin, table.metrics(), ntu)) == {"test/linear/joint"}


UNDECIDED = {(4, 0): 61, (4, 1): 63, (4, 2): 62, (8, 0): 62, (8, 1): 62, (8, 2): 64}


def test_where_it_cannot_be_told_the_seeds_that_would_are_named(table_space, played):
    """Differences of 1, -1 and 2: spread 1.53. The second look is tested at 1.25 %, one-sided."""
    claims = [CLAIMS[0], {**CLAIMS[2], "margin": 1}]
    _, text, printed = report_of(played(table_space([0, 1, 2], claims=claims), UNDECIDED))
    spread = 5**0.5 * (7 / 15) ** 0.5
    reported, alike = seeds_needed(spread, [1.5], 0.0125), seeds_needed(spread, [1.0, 1.0], 0.0125)
    first = "Differences vary by 1.5 points from seed to seed. With that, a chance of 80 % to find that the claim holds"
    first += " takes"
    assert f"{first} about {reported} seeds a cell if the differences are as reported.\n" in text
    assert f"{first} about {alike} seeds a cell if the cells are alike.\n" in text
    assert f"about {reported} seeds a cell if the differences are as reported." in re.sub(r"\s+", " ", printed)
    _, text, _ = report_of(played(table_space([0, 1, 2], claims=claims, reported_on=None), UNDECIDED))
    one, three = (seeds_needed(spread, [size], 0.0125) for size in (1.0, 3.0))
    told = [
        f"about {n} seeds a cell if the difference is {words}" for n, words in ((one, "1 point"), (three, "3 points"))
    ]
    assert f"{first} {', '.join(told)}.\n" in text


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
    assert [path.name for path in report.files] == ["trials.csv", "cells.csv", "report.md"]
    assert ending.troubles == [f"table.png: {study.folder / 'table.png'}: cannot be written: Is a directory"]
