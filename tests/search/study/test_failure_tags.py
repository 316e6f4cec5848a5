"""Kinds of failure as engines and processes report them, and what becomes of the trial."""

import pytest

from cmd_tune import errors
from cmd_tune.search.execution import DIED, HUNG, NODE_LOST
from cmd_tune.search.execution.trial_process import failure_report
from cmd_tune.search.study.failure_tags import FailureTag, failure_tag


@pytest.mark.parametrize(
    ("error", "tag", "passing"),
    [
        (errors.Diverged("the loss is nan"), "diverged", False),
        (errors.UsageError("topk 30 exceeds queue_size 20"), "values", False),
        (errors.OutOfMemory("out of memory"), "out-of-memory", True),
        (errors.DiskFull("the disk is full"), "disk-full", True),
        (errors.DataError("data.arrow: no such file"), "data", True),
        (errors.CmdTuneError("data.arrow: Permission denied"), "data", True),
    ],
)
def test_what_a_trials_process_finds(error, tag, passing):
    found = failure_tag(failure_report(error).kind)
    assert (str(found), found.passing) == (tag, passing)


@pytest.mark.parametrize(
    ("kind", "tag"), [(DIED, "killed"), (NODE_LOST, "node-lost"), (HUNG, "hung"), ("KeyError", "defect")]
)
def test_what_an_engine_finds(kind, tag):
    found = failure_tag(kind)
    assert (str(found), found.passing) == (tag, True)


def test_every_tag_is_in_the_documentation():
    from pathlib import Path

    text = (Path(__file__).parents[3] / "docs" / "running.md").read_text(encoding="utf-8")
    assert [tag for tag in FailureTag if f"| `{tag}` |" not in text] == []
