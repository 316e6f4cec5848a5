"""The best trial beside what others report: what may stand there, with which score and interval, derived by hand."""

from dataclasses import replace

import numpy as np
import pytest

from cmd_tune.evaluate.intervals import clustered_interval
from cmd_tune.evaluate.tally import Tally, write_tally
from cmd_tune.runs.pretrain_and_score import TEST_TALLY, Conditions
from cmd_tune.search.report.sections.beside_reported import beside_reported
from cmd_tune.search.spaces.reported import Origin
from cmd_tune.search.study.trial_record import Repeat
from tests.search.report.made_up import made_up

METRIC = "test/knn/joint"
NTU = Conditions("ntu-60", "xsub", {}, pretrained=30_000, training=40_091)
ORIGIN = Origin(by="Them", dataset="ntu-60", protocol="xsub", probes={"knn": "1-NN", "linear": "SGD"})
CLIPS, RIGHT = [50, 50, 60, 40], [45, 40, 54, 34]


@pytest.fixture
def findings(tmp_path, tiny):
    found = made_up(tmp_path / "search", tiny, 12, conditions=NTU)
    reported = {METRIC: 70.6, "test/linear/joint": 79.8}
    found.study.space = replace(found.study.space, reported=reported, reported_on=ORIGIN)
    return found


def cells(section):
    row = next(line for line in section.markdown.splitlines() if line.startswith(f"| {METRIC}"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_mean_over_refits_stands_beside_the_reported_accuracy(findings):
    scores = [72.0, 74.0, 70.0]
    for seed, score in enumerate(scores):
        findings.best.repeat(Repeat.REFIT, seed).test_scores = {METRIC: score, "test/linear/joint": 80.0}
    section = beside_reported(findings)
    half = 4.3027 * np.std(scores, ddof=1) / np.sqrt(3)  # Student's t of two degrees of freedom
    assert cells(section) == [
        METRIC, "70.6", f"72.0 ({72 - half:.1f}–{72 + half:.1f})", f"+1.4 ({1.4 - half:+.1f} to {1.4 + half:+.1f})"
    ]  # fmt: skip
    assert "Reported: Them, ntu-60 xsub." in section.markdown
    assert "Reported accuracies of test/linear/joint are left out: their probe is SGD, ours solved." in section.markdown
    assert "the mean over 3 refits on the whole training set, with 95 % intervals over seeds" in section.markdown
    assert findings.best.name in section.markdown


def test_one_refit_has_the_interval_over_its_clips(findings):
    refit = findings.best.repeat(Repeat.REFIT, 0)
    refit.folder.mkdir(parents=True)
    refit.test_scores = {METRIC: 86.5}
    write_tally(refit.folder / TEST_TALLY, Tally(CLIPS, {METRIC: RIGHT}, True))
    low, high = clustered_interval(RIGHT, CLIPS)
    assert cells(beside_reported(findings))[2] == f"86.5 ({low:.1f}–{high:.1f})"


def test_without_a_refit_it_has_not_seen_the_whole_training_set(findings):
    findings.best.test_scores = {METRIC: 71.0}
    section = beside_reported(findings)
    assert f"| {METRIC}" not in section.markdown
    assert "ours on 30,000 of 40,091 clips" in section.markdown


def test_what_was_not_tested_is_a_dash(findings):
    object.__setattr__(findings, "conditions", replace(NTU, pretrained=NTU.training))
    assert cells(beside_reported(findings)) == [METRIC, "70.6", "–", ""]


def test_what_no_refit_was_scored_by_is_a_dash(findings):
    """The best trial may have other modalities than the reported accuracies."""
    reported = {METRIC: 70.6, "test/knn/bone": 71.0}
    findings.study.space = replace(findings.study.space, reported=reported)
    for seed in range(2):
        findings.best.repeat(Repeat.REFIT, seed).test_scores = {METRIC: 72.0 + seed}
    text = beside_reported(findings).markdown
    assert "| test/knn/bone | 71.0 | – |  |" in text
    assert "| 72.5 (" in text


def test_what_nobody_reports_has_no_section(findings, tmp_path, tiny):
    findings.study.space = replace(findings.study.space, reported={})
    assert beside_reported(findings) is None
