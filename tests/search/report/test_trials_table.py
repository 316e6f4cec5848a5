"""A table with as many parameters as a screen has room for."""

import pytest
from rich.console import Console
from rich.table import Table

from cmd_tune.search.report.trials_table import FittedTable, by_difference, trials_columns
from cmd_tune.search.request import read_space
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.space_file import find_space
from cmd_tune.settings import Settings

NAMES = ("teacher_temperature", "topk", "queue_size")


def build(headings, scores):
    table = Table(box=None, pad_edge=False)
    table.add_column("trial")
    for name in scores:
        table.add_column(name, no_wrap=True)
    for heading in headings.values():
        table.add_column(heading, no_wrap=True)
    table.add_row("000", *("1" for _ in (*scores, *headings)))
    return table


def lines_of(width, scores=()):
    console = Console(width=width, legacy_windows=False)
    with console.capture() as capture:
        console.print(FittedTable(NAMES, build, "… and {} more parameters", scores))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize(
    ("width", "headings", "more"),
    [
        (31, ["       teacher            queue", "trial  temperature  topk  size"], ""),
        (30, ["       teacher          queue", "trial  temperat…  topk  size"], ""),
        (29, ["       teacher          queue", "trial  temperat…  topk  size"], ""),
        (28, ["       teacher", "trial  temperat…  topk"], "… and 1 more parameters"),
        (21, ["       teacher", "trial  temperat…"], "… and 2 more parameters"),
        (10, ["trial"], "… and 3 more parameters"),
    ],
)
def test_words_are_cut_first_and_then_parameters_left_out(width, headings, more):
    lines = lines_of(width)
    assert lines[: len(headings)] == headings
    assert " ".join(lines[len(headings) + 1 :]) == more
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("width", "heading", "more"),
    [
        (45, "trial  joint  linear  temperat…  topk  size", ""),
        (40, "trial  joint  linear  temperat…  topk", "… and 1 more parameters"),
        (36, "trial  joint  temperat…  topk", "… and 1 more parameters"),
        (24, "trial  temperat…  topk", "… and 1 more parameters"),
        (16, "trial  temperat…", "… and 2 more parameters"),
    ],
)
def test_scores_are_left_out_before_fewer_than_two_parameters_are_shown(width, heading, more):
    lines = lines_of(width, ("joint", "linear"))
    assert lines[1].strip() == heading
    assert " ".join(lines[3:]) == more


def test_parameters_that_differ_most_come_first():
    parameters = {
        "seed": Parameter("seed", "categorical", choices=(0, 1, 2)),
        "key_momentum": Parameter("key_momentum", "uniform", 0.0, 1.0),
        "learning_rate": Parameter("learning_rate", "uniform", 1e-4, 1.0),
        "topk": Parameter("topk", "int_uniform", 1, 9, 1),
    }
    rows = [
        {"seed": 1, "key_momentum": 0.4, "learning_rate": 1e-4, "topk": 4},
        {"seed": 1, "key_momentum": 0.6, "learning_rate": 1e-3, "topk": 7},
    ]
    # Standard deviations over the range: 0; 0.1; on a log scale 1/8; 3/16 of 9 times, which is no log scale.
    assert by_difference(parameters, rows) == ["topk", "learning_rate", "key_momentum", "seed"]
    assert by_difference(parameters, []) == list(parameters)


def test_parameters_by_how_much_the_trials_differ_in_them():
    space = read_space(find_space("full"))
    (start,) = space.start_points
    rows = [
        {**start, "learning_rate": 3e-4, "distill_weight": 1.0, "key_momentum": 0.97},
        {**start, "learning_rate": 1e-2, "distill_weight": 1.6, "key_momentum": 0.99},
    ]
    first = by_difference(space.parameters, rows)[:4]
    assert first[:3] == ["learning_rate", "key_momentum", "distill_weight"]  # its whole range, a quarter, a fifth
    assert first[3] == "teacher_temperature"  # the others do not differ, and stand as in the file


def test_no_setting_has_the_name_of_a_column_that_stands_beside_it(make_space, open_study):
    own = trials_columns(open_study(make_space(parameters={"topk": {"values": [4, 6]}}, points_to_evaluate=None)))
    assert own.keys() & Settings.model_fields.keys() == {"topk"}


def test_what_a_trial_took_of_its_machine_is_no_score(make_space, open_study):
    study = open_study(make_space())
    record = {"epoch": 1, "loss/total": 1.0, "system/cpu_utilization_percentage": 99.0}
    study.record(study.next(), record)
    assert trials_columns(study)["loss/total"] == [1.0]
    assert not any(name.startswith("system/") for name in trials_columns(study))
