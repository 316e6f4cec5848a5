"""What a process does before it scores encoders."""

import numpy as np
import pytest
import torch

from cmd_tune.compute.device import device_here
from cmd_tune.evaluate.tally import read_tally
from cmd_tune.runs import pretrain_and_score
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY, UNTRAINED_TALLY, baseline_scores, conditions, run


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_scores_are_taken_in_the_precision_of_the_settings(tiny, tiny_store, tmp_path, precision):
    """A process that only scores starts with PyTorch's own default, in which cuDNN rounds to TF32."""
    settings, source = tiny(precision=precision, epochs=1), DataSource(tiny_store.path, "xview")
    run(settings, source, tmp_path, lambda record: None)
    for scores in (baseline_scores, pretrain_and_score.test_scores):
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
        scores(settings, source, tmp_path)
        assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is (precision == "tf32")


def test_right_answers_are_kept_by_subject(tiny, tiny_store, tmp_path):
    """Beside the scores that they add up to, for the intervals of reports."""
    settings, source = tiny(epochs=1), DataSource(tiny_store.path, "xview")
    run(settings, source, tmp_path, lambda record: None)
    raw, untrained = baseline_scores(settings, source, tmp_path)
    tested = pretrain_and_score.test_scores(settings, source, tmp_path)
    _, counts = np.unique(tiny_store.subject_N[tiny_store.camera_N == 3], return_counts=True)
    for scores, name in ((tested, TEST_TALLY), (untrained, UNTRAINED_TALLY), (raw, RAW_TALLY)):
        tally = read_tally(tmp_path / name)
        assert tally is not None
        assert tally.clips == counts.tolist()
        assert {metric: tally.percent(metric) for metric in tally.right} == pytest.approx(
            {metric: score for metric, score in scores.items() if metric.startswith("test/")}
        )


def test_the_last_report_has_the_scores_of_the_checkpoint_on_the_test_set(tiny, tiny_store, tmp_path):
    settings, source = tiny(epochs=2, holdout="none"), DataSource(tiny_store.path, "xview")
    records = []
    run(settings, source, tmp_path, records.append, test=True)
    assert not [name for record in records for name in record if name.startswith("val/")]
    assert not [name for name in records[0] if name.startswith("test/")]
    counted = read_tally(tmp_path / TEST_TALLY)
    scores = pretrain_and_score.test_scores(settings, source, tmp_path)
    assert {name: records[1][name] for name in scores} == scores
    assert read_tally(tmp_path / TEST_TALLY) == counted


def test_without_validation_baselines_are_of_the_test_set_alone(tiny, tiny_store, tmp_path):
    source = DataSource(tiny_store.path, "xview")
    every = baseline_scores(tiny(), source, tmp_path)
    for scores, whole in zip(baseline_scores(tiny(holdout="none"), source, tmp_path), every, strict=True):
        assert scores == {name: score for name, score in whole.items() if name.startswith("test/")}


def test_what_is_pretrained_on_is_counted(tiny_store):
    source = DataSource(tiny_store.path, "xview")
    held, whole = conditions(source, "validation"), conditions(source, "none")
    assert (whole.pretrained, whole.training) == (48, 48)
    assert (held.pretrained, held.training) == (36, 48)
    assert whole.queries == {"val": 0, "test": held.queries["test"]}


def test_a_gpu_has_its_number(monkeypatch):
    """A device without one is not the device that its tensors say they are on, and some calls refuse it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert device_here() == torch.device("cuda", 1)
