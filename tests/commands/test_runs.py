"""The help of `evaluate`, which is typed by hand: deriving it would import PyTorch before a command is known."""

import re

import pytest

from cmd_tune.evaluate.tasks import DEFAULT_TASKS, TASKS


def test_the_help_of_evaluate_names_every_task_and_no_other(help_of):
    text = help_of("evaluate", "--with")
    assert f"[default: {','.join(DEFAULT_TASKS)}]" in text
    (listed,) = re.findall(r"^Tasks, separated by commas: (.+)\. \[", text)
    assert re.sub(r" \([^)]+\)", "", listed).split(", ") == list(TASKS)


@pytest.mark.parametrize(
    ("option", "holds"),
    [("--official-best-of-test", lambda task: task.has_curve), ("--seed", lambda task: task.draws)],
)
def test_the_help_of_an_option_of_some_tasks_names_these(help_of, option, holds):
    (listed,) = re.findall(r"^For ([^:]+):", help_of("evaluate", option))
    assert listed.split(", ") == [word for word, task in TASKS.items() if holds(task)]


def test_the_help_of_transfer_data_names_the_tasks_on_other_data(help_of):
    words = re.findall(r"'([^']+)'", help_of("evaluate", "--transfer-data"))
    assert words == [word for word, task in TASKS.items() if task.other_data]
