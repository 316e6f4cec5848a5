"""What a process does before it scores encoders."""

import pytest
import torch

from cmd_tune.search import run as searching
from cmd_tune.search.run import DataSource, baseline_scores, device_here, run


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_scores_are_taken_in_the_precision_of_the_settings(tiny, tiny_store, tmp_path, precision):
    """A process that only scores starts with PyTorch's own default, in which cuDNN rounds to TF32."""
    settings, source = tiny(precision=precision, epochs=1), DataSource(tiny_store.path, "xview")
    run(settings, source, tmp_path, lambda record: None)
    for score in (lambda: baseline_scores(settings, source), lambda: searching.test_scores(settings, source, tmp_path)):
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
        score()
        assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is (precision == "tf32")


def test_a_gpu_has_its_number(monkeypatch):
    """A device without one is not the device that its tensors say they are on, and some calls refuse it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert device_here() == torch.device("cuda", 1)
