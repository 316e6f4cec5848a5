"""One program for the steps of several trials: memory, threads, and what cannot be computed together."""

import gc
import threading
import traceback
import weakref
from dataclasses import dataclass

import pytest
import torch

from cmd_tune.compute.threads import steady
from cmd_tune.data.store import open_store
from cmd_tune.model.encoders import ENCODERS, GRUEncoder
from cmd_tune.model.objectives import OBJECTIVES
from cmd_tune.model.objectives.distillation import CMD
from cmd_tune.train import fused_program
from tests.train.test_fused import CPU, assert_each_as_alone, programs_of, train, varied


def test_a_program_that_has_failed_keeps_none_of_its_memory(tiny, tiny_store, tmp_path, monkeypatch):
    """The exception's stack, which its trial still has, would hold all slots, when memory was what it lacked."""
    slots = []

    def full(self, at):
        slots.append(weakref.ref(self))
        raise MemoryError("full")

    monkeypatch.setattr(fused_program._Slots, "step", full)
    with programs_of(2) as programs:
        store = programs.store(open_store(tiny_store.path), CPU)
        with pytest.raises(MemoryError, match="full") as failure:
            train(varied(tiny, 0), store, tmp_path / "f", programs)
        gc.collect()
        assert slots[0]() is None
    assert "full" in "".join(traceback.format_exception(failure.value))


def test_a_program_has_the_threads_of_its_trials(tiny, tiny_store, tmp_path, monkeypatch):
    """A trial that is just being scored has PyTorch on one thread, which is what new threads begin with."""
    found, take = [], fused_program._Slots.step

    def step(self, at):
        found.append(torch.get_num_threads())
        take(self, at)

    monkeypatch.setattr(fused_program._Slots, "step", step)
    own, prepare = threading.Event(), threading.Event()

    def score():
        with steady():
            own.set()
            prepare.wait()

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    scoring = threading.Thread(target=score)
    scoring.start()
    own.wait()
    try:
        with programs_of(1) as programs:
            train(varied(tiny, 0), programs.store(open_store(tiny_store.path), CPU), tmp_path, programs)
    finally:
        prepare.set()
        scoring.join()
        torch.set_num_threads(before)
    assert set(found) == {3}


class Unusual(GRUEncoder):
    """An encoder with constants beside its state, and a parameter that it does not use."""

    def __init__(self, modalities, channels, **own):
        super().__init__(modalities, channels, **own)
        self.register_buffer("scale", torch.tensor(1.5))
        self.register_buffer("table", torch.arange(6.0).view(2, 3))
        self.unused = torch.nn.Parameter(torch.ones(modalities, 2))

    def features(self, x_MBTX, *more):
        return super().features(self.scale * x_MBTX + self.table.sum(), *more)


@pytest.mark.parametrize("trials", [1, 3])
def test_constants_of_an_encoder_stay(tiny, tiny_store, tmp_path, monkeypatch, trials):
    monkeypatch.setitem(ENCODERS, "gru", Unusual)
    cases = [varied(tiny, index) for index in range(trials)]
    assert_each_as_alone(cases, tiny_store, tmp_path)


@dataclass(frozen=True)
class Choosing(CMD):
    """CMD that goes by consensus if topk is even."""

    @property
    def chosen(self):
        return CMD(**{**vars(self), "distillation": "pairwise" if self.topk % 2 else "consensus"})

    def __call__(self, *similarities):
        return self.chosen(*similarities)

    def terms(self, rows):
        return self.chosen.terms(rows)


def test_objectives_whose_terms_differ_get_programs_of_their_own(tiny, tiny_store, tmp_path, monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "cmd", Choosing)
    cases = [varied(tiny, index) for index in range(2)]
    assert_each_as_alone(cases, tiny_store, tmp_path)
