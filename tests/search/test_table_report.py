"""The report of a table: numbers by hand, the files, what is said of claims, and what is left out."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from cmd_tune.evaluate.intervals import wilson_interval
from cmd_tune.search.ending import Ending
from cmd_tune.search.measured import measure
from cmd_tune.search.report import Report
from cmd_tune.search.space import Space
from cmd_tune.search.study import Book
from cmd_tune.search.table_report import table_report

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
QUERIES = {"val": 50, "test": 200}


@pytest.fixture
def table_space(make_space: Callable[..., Space]) -> Callable[..., Space]:
    def make(seeds: list[int], **changes: object) -> Space:
        absent = dict.fromkeys(("parameters", "points_to_evaluate", "budget"))
        usual = {"method": "cells", "title": "A table", "cells": CELLS, "claims": CLAIMS, "seeds": seeds}
        return make_space(**{**absent, **usual, **changes})

    return make


@pytest.fixture
def played(open_book: Callable[..., Book]) -> Callable[..., Book]:
    """A book whose trials have run, with test scores {(topk, seed): KNN}; others fail. Linear is always 60."""

    def play(space: Space, knn: dict[tuple[int, int], float]) -> Book:
        book = open_book(space, trials=100)
        while (entry := book.next()) is not None:
            score = knn.get((entry.values["topk"], entry.values["seed"]))
            if score is None:
                book.end(entry, failure="the loss is nan in epoch 1")
                continue
            for epoch in (1, 2, 3):
                book.record(entry, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": 10.0 * epoch})
            book.end(entry)
            book.record_test(entry, {"test/knn/joint": score, "test/linear/joint": 60.0})
        return book

    return play


def report_of(book: Book) -> tuple[Report, str, str]:
    """(the report, report.md, what is printed)."""
    table = book.space.table
    assert table is not None
    report = table_report(book, table, RAW, UNTRAINED, where="synthetic, xview", queries=QUERIES)
    printed = io.StringIO()
    Console(file=printed, width=80).print(report.closing)
    return report, (book.folder / "report.md").read_text(), printed.getvalue()


def test_means_intervals_and_differences(table_space, played):
    book = played(table_space([0, 1, 2]), {(4, s): x for s, x in enumerate((61, 62, 63))} | {(8, 0): 70, (8, 2): 74})
    rows = {(m.cell.values["topk"], m.metric): m for m in measure(book, book.space.table, QUERIES)}
    four, eight = rows[4, "test/knn/joint"], rows[8, "test/knn/joint"]
    assert (four.mean, four.reported, four.difference) == (62, 70, -8)
    assert four.interval == pytest.approx((62 - 4.30265 / 3**0.5, 62 + 4.30265 / 3**0.5), abs=1e-4)
    assert (eight.mean, eight.difference, eight.scores) == (72, 0.5, {0: 70, 2: 74})
    assert rows[8, "test/linear/joint"].difference is None  # nothing was reported of it
    with (table_report_folder(book) / "cells.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["topk"], line["metric"], line["seeds"]) for line in lines] == [
        ("4", "test/knn/joint", "3"), ("8", "test/knn/joint", "2"),
        ("4", "test/linear/joint", "3"), ("8", "test/linear/joint", "2"),
    ]  # fmt: skip
    assert (float(lines[0]["mean"]), float(lines[0]["difference"]), lines[0]["interval"]) == (62, -8, "t over seeds")
    assert float(lines[0]["low"]) == four.interval[0]
    assert (lines[3]["reported"], lines[3]["difference"]) == ("", "")


def table_report_folder(book: Book) -> Path:
    report_of(book)
    return book.folder


def test_a_single_seed_has_wilsons_interval_of_the_test_set(table_space, played):
    book = played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0})
    (four, *_) = measure(book, book.space.table, QUERIES)
    assert four.interval == wilson_interval(61.0, 200)
    assert four.method == "Wilson over clips"
    _, text, printed = report_of(book)
    assert "Percent right, mean ± half its 95 % interval (Wilson over clips, one seed)." in printed
    assert text.count(": cannot tell\n") == 3
    assert "1 seed in common; 3 are needed" in text


def test_verdicts_baselines_and_figures_stand_in_the_report(table_space, played):
    knn = {(4, s): x for s, x in enumerate((61, 62, 63, 62))} | {(8, s): x for s, x in enumerate((65.5, 67, 68, 67))}
    report, text, printed = report_of(played(table_space([0, 1, 2, 3]), knn))
    assert text.startswith("# A table\n")
    assert "| 4 | 62.0 (60.7–63.3) | 70.0 | -8.0 | 60.0 (60.0–60.0) | 80.0 | -20.0 |" in text
    assert "| 8 | 66.9 (65.2–68.5) | 71.5 | -4.6 | 60.0 (60.0–60.0) | – | – |" in text
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
    assert names == ["trials.csv", "baselines.yaml", "cells.csv", "table.png", "report.md"]
    assert all(path.exists() for path in report.files)
    assert "![The table as a figure](table.png)" in text
    assert report.metrics["baseline/raw/test/knn/joint"] == 55.0


def test_trials_that_failed_are_named_and_count_nowhere(table_space, played):
    _, text, _ = report_of(played(table_space([0, 1]), {(4, 0): 61, (4, 1): 63}))
    assert "2 of 4 trials finished" in text
    assert "trial-001 failed (topk 8, seed 0): the loss is nan in epoch 1" in text
    assert "| 8 | – | 71.5 | – | – | – | – |" in text
    assert "0 seeds in common; 3 are needed" in text


def test_a_table_nobody_reported_on_shows_the_searchs_metric(table_space, played):
    space = table_space([0, 1], cells=[{"topk": 4}, {"topk": 8}], claims=[], title=None)
    _, text, _ = report_of(played(space, {(k, s): 50 for k in (4, 8) for s in (0, 1)}))
    assert "| topk | val/knn/fused | val/knn/fused, reported | val/knn/fused, difference |" in text
    assert "| 4 | 30.0 (30.0–30.0) | – | – |" in text  # of the last epoch
    assert "## Claims" not in text


def test_nothing_is_picked_by_its_score(table_space, played):
    """Cells stand as the file has them, whoever is best, and every finished trial is a finalist."""
    book = played(table_space([0, 1]), {(4, 0): 40, (4, 1): 41, (8, 0): 90, (8, 1): 91})
    assert len(book.finalists(3)) == 4
    report, text, _ = report_of(book)
    assert text.index("| 4 |") < text.index("| 8 |")
    assert not (book.folder / "best.yaml").exists()
    assert not any(name.startswith("best/") for name in report.metrics)


def test_a_book_goes_on_with_what_a_longer_table_lacks(table_space, open_book):
    def values(book: Book) -> list[tuple[int, int]]:
        found = []
        while (entry := book.next()) is not None:
            found.append((entry.values["topk"], entry.values["seed"]))
            if found[-1] != (8, 0):  # left running, as a kill would
                book.end(entry, failure="over")
        return found

    assert values(open_book(table_space([0]), trials=100)) == [(4, 0), (8, 0)]
    assert values(open_book(table_space([0, 1]), trials=100)) == [(8, 0), (4, 1), (8, 1)]
    more = table_space([0, 1], cells=[{"topk": 2}, *CELLS])
    book = open_book(more, trials=100)
    assert values(book) == [(8, 0), (2, 0), (2, 1)]
    assert len({tuple(sorted(entry.values.items())) for entry in book.entries.values()}) == len(book.entries) == 6


def test_a_smaller_budget_runs_whole_rounds_of_seeds_first(table_space, open_book):
    book = open_book(table_space([0, 1, 2]), trials=3)
    assert [tuple(book.next().values.values()) for _ in range(3)] == [(4, 0), (8, 0), (4, 1)]
    assert book.next() is None


def test_a_file_that_cannot_be_written_takes_no_other_with_it(table_space, played):
    space = table_space([0])
    book = played(space, {(4, 0): 61, (8, 0): 70})
    (book.folder / "table.png").mkdir()
    ending = Ending(book.folder)
    report = table_report(book, space.table, {}, {}, where="synthetic, xview", queries=QUERIES, attempt=ending.attempt)
    assert [path.name for path in report.files] == ["trials.csv", "cells.csv", "report.md"]
    assert ending.troubles == [f"table.png: {book.folder / 'table.png'}: cannot be written: Is a directory"]
