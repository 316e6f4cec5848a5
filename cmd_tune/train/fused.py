"""Trials of one shape side by side as one program, as servers of language models batch requests.

A small trial's step leaves most of a card idle; the steps of P trials as P·M branches of one program do not. Each trial
is still a run of the ordinary loop, in a thread of its own, which keeps its state, validates, saves and reports. Only
its steps are taken here: for each epoch its state is copied into a free slot, and back after the epoch's last step. So
trials come, go and wait for none of their fellows, at whatever epochs they are.
P slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from threading import Lock

import torch
from torch import Tensor

from cmd_tune.data.store import Store
from cmd_tune.model.encoders import ENCODERS
from cmd_tune.model.objectives import OBJECTIVES
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.settings import Settings
from cmd_tune.train.batches import Batches
from cmd_tune.train.fused_program import Epoch, FusedProgram
from cmd_tune.train.step import Steps, state_in_numbers

# What trials of one program have in common, beside their data, the settings of their encoder and their objective's
# structure. The rest may differ: seeds, rates, decay, momenta, temperatures, weights, topk, the numbers of views.
_SHAPE = ("modalities", "encoder", "embedding_size", "queue_size", "frames", "batch_size", "optimizer", "precision")


def shape_settings(settings: Settings) -> tuple[str, ...]:
    """Names of the settings that trials must have in common to be of one program from their first epoch to their last.

    settings: of one of them.
    """
    choices = (field.name for field in fields(OBJECTIVES[settings.objective]))
    structure = (name for name in choices if isinstance(getattr(settings, name), str))
    return (*_of_tensors(settings), "views", "objective", *structure, "stages", "stage_switch")


def _of_tensors(settings: Settings) -> tuple[str, ...]:
    return (*_SHAPE, *ENCODERS[settings.encoder].settings)


class FusedPrograms:
    """The programs of a process: one for each shape of its trials. Trials of several threads may call at once."""

    def __init__(self, slots: int) -> None:
        """slots: of each program; as many trials as this process runs at once."""
        self._slots = slots
        self._programs: dict[object, FusedProgram] = {}
        self._stores: dict[object, Store] = {}
        self._lock = Lock()

    def store(self, store: Store, device: torch.device) -> Store:
        """This store with its frames where views are made: one copy for all trials."""
        key = (store.path, store.fingerprint)
        with self._lock:
            if key not in self._stores:
                self._stores[key] = store.on_device_if_it_fits(device)
            return self._stores[key]

    def __call__(
        self, settings: Settings, pretrainer: Pretrainer, optimizer: torch.optim.Optimizer, batches: Batches
    ) -> Steps:
        """What takes the steps of a trial: `steps_by` of the training loop."""
        return _StepsFused(self, settings, pretrainer, optimizer, batches)

    def submit(self, settings: Settings, batches: Batches, epoch: Epoch) -> None:
        """Have an epoch's steps taken by the program for its shape.

        Where there is none yet, one is made, and those that have nothing to do make room for it.
        """
        terms = epoch.pretrainer.objective.terms(settings.queue_size)
        shape = (
            *(getattr(settings, name) for name in _of_tensors(settings)),
            *epoch.pretrainer.objective.structure,
            *(terms is None, terms and terms.distillation),
            *(type(batches.view), batches.store.rows_FX.data_ptr()),
        )
        with self._lock:
            if shape not in self._programs or not self._programs[shape].submit(epoch):
                for other in [key for key, program in self._programs.items() if not program.busy]:
                    self._programs.pop(other).close()
                self._programs[shape] = FusedProgram(settings, batches, self._slots, epoch)

    def close(self) -> None:
        """End the programs."""
        with self._lock:
            for program in self._programs.values():
                program.close()
            self._programs.clear()


class _StepsFused:
    """The steps of one trial, taken beside those of its fellows."""

    def __init__(
        self,
        programs: FusedPrograms,
        settings: Settings,
        pretrainer: Pretrainer,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
    ) -> None:
        self._programs, self._settings = programs, settings
        self._pretrainer, self._optimizer, self._batches = pretrainer, optimizer, batches
        self._slot, self._rate = 0, settings.learning_rate

    def epoch(self, epoch: int, rates: Sequence[float]) -> Tensor:
        prepared = self._batches.prepare(epoch)
        asked = Epoch(self._pretrainer, self._optimizer, rates, prepared, self._slot)
        self._programs.submit(self._settings, self._batches, asked)
        self._batches.look_ahead(epoch + 1)
        sums = asked.sums.result()
        self._slot, self._rate = asked.slot, rates[-1]
        return sums

    def optimizer_state(self) -> dict[str, object]:
        return state_in_numbers(self._optimizer, [self._rate])
