"""Which precision is the fastest: the choice by given times, the measurement for real, and the warning."""

from contextlib import contextmanager

import pytest
import torch

from cmd_tune.compute.slower import heard
from cmd_tune.errors import UsageError
from cmd_tune.train import precision
from cmd_tune.train.precision import fastest, resolve_precision, time_precisions, warn_of_slow_precision

CPU = torch.device("cpu")
CHANNELS = 12


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"float32": 1.0, "bfloat16": 1.6}, "float32"),
        ({"float32": 1.0, "bfloat16": 0.5}, "bfloat16"),
        ({"float32": 1.0, "bfloat16": 1.0}, "float32"),
        ({"float32": 1.04, "bfloat16": 1.0}, "float32"),  # no more than noise
        ({"float32": 1.06, "bfloat16": 1.0}, "bfloat16"),
        ({"float32": 116.0, "tf32": 30.0, "bfloat16": 15.7}, "bfloat16"),
        ({"float32": 116.0, "tf32": 30.0, "bfloat16": 29.0}, "tf32"),
        ({"float32": 1.0, "tf32": 0.98, "bfloat16": 0.9}, "bfloat16"),  # each gains little, the last one enough
        ({"float32": 1.0, "tf32": 0.9, "bfloat16": 0.95}, "tf32"),
    ],
)
def test_the_finest_that_no_other_clearly_beats(seconds, expected):
    assert fastest(seconds) == expected


@contextmanager
def switches_at(products, recurrences):
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, recurrences
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


@pytest.mark.parametrize("before", [False, True])
def test_auto_becomes_what_is_measured(tiny, monkeypatch, before):
    """The word of the least time by the times themselves, which the line tells; the switches for tf32 stay."""
    settings = tiny(precision="auto", hidden_size=32)
    found = {}

    def seen(*given):
        found.update(time_precisions(*given))
        return found

    monkeypatch.setattr(precision, "time_precisions", seen)
    with switches_at(before, not before):
        chosen, said = resolve_precision(settings, CHANNELS, CPU)
        after = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert list(found) == ["float32", "bfloat16"]
    assert all(0 < each < 60 for each in found.values())
    assert chosen == settings.model_copy(update={"precision": fastest(found)})
    other = next(name for name in found if name != chosen.precision)
    ratio = found[other] / found[chosen.precision]
    assert said == f"precision auto: {chosen.precision}; {other} takes {ratio:.2g} times as long"
    assert after == (before, not before)


@pytest.mark.parametrize("named", ["float32", "tf32", "bfloat16"])
def test_a_precision_that_is_named_is_not_measured(tiny, monkeypatch, named):
    monkeypatch.setattr(precision, "time_precisions", None)
    assert resolve_precision(tiny(precision=named), CHANNELS, CPU) == (tiny(precision=named), "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ({"float32": 1.0, "bfloat16": 2.0}, ["precision bfloat16 is slower than float32 on this processor; "]),
        ({"float32": 2.0, "bfloat16": 1.0}, []),
        ({"float32": 1.0, "bfloat16": 1.02}, []),
    ],
)
def test_bfloat16_that_is_slower_is_warned_about_once(tiny, monkeypatch, seconds, words):
    monkeypatch.setattr(precision, "_measured", set())
    monkeypatch.setattr(precision, "time_precisions", lambda *_: seconds)
    with heard() as said:
        for teacher_temperature in (0.05, 0.1):  # trials of one size
            settings = tiny(precision="bfloat16", teacher_temperature=teacher_temperature)
            warn_of_slow_precision(settings, CHANNELS, CPU)
    assert [text[: len(part)] for text, part in zip(said, words, strict=True)] == words


@pytest.mark.parametrize("named", ["float32", "tf32"])
def test_other_precisions_are_not_measured_for_a_warning(tiny, monkeypatch, named):
    monkeypatch.setattr(precision, "time_precisions", None)
    warn_of_slow_precision(tiny(precision=named), CHANNELS, CPU)


def test_nothing_is_trained_before_it_is_known(tiny, tiny_store, worker, tmp_path):
    with pytest.raises(UsageError, match="precision auto: is for the start of a run"):
        worker.train(tiny(precision="auto"), tiny_store, tmp_path)
