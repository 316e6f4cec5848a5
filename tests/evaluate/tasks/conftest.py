"""An encoder under test on the small data set, and recipes of a few epochs."""

from dataclasses import replace

import pytest

from cmd_tune.data.splits import split_store
from cmd_tune.evaluate.classifier import FINETUNE, LINEAR, LabelledClips
from cmd_tune.evaluate.tasks import EncoderUnderTest, semi, trained
from cmd_tune.train.loop import build_pretrainer


@pytest.fixture(autouse=True)
def short_recipes(monkeypatch):
    monkeypatch.setattr(trained, "LINEAR", replace(LINEAR, epochs=3))
    for module in (trained, semi):
        monkeypatch.setattr(module, "FINETUNE", replace(FINETUNE, epochs=2))


@pytest.fixture
def subject(tiny, tiny_store, tmp_path) -> EncoderUnderTest:
    _, split = split_store(tiny_store, "xview")
    data = LabelledClips(tiny_store, tiny(), split.test[0].gallery_N, split.test[0].query_N)
    return EncoderUnderTest(build_pretrainer(tiny(), tiny_store.width).online, data, tmp_path)
