"""One program for the steps of P trials of one shape: slots, and the thread that takes the steps of all of them.

A slot that no trial has computes as the others do, at a rate of 0, and nobody reads what.
P slot, M modality.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from threading import Condition, Thread
from traceback import clear_frames

import torch
from torch import Tensor

from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.compute.threads import keep_to
from cmd_tune.model.fused_pretrainer import FusedPretrainer
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.pretrainer import Pretrainer
from cmd_tune.settings import Settings
from cmd_tune.train.batches import Batches
from cmd_tune.train.loop import build_encoder, build_optimizer
from cmd_tune.train.slot_optimizer import SlotOptimizer
from cmd_tune.train.step import TrainingStep


class Epoch:
    """An epoch that a trial asks for: its state before the epoch, and after it."""

    def __init__(
        self,
        pretrainer: Pretrainer,
        optimizer: torch.optim.Optimizer,
        rates: Sequence[float],
        prepared: Iterator[Sequence[Tensor]],
        slot: int = 0,
    ) -> None:
        """rates: learning rates, a step each. prepared: by `Batches.prepare`, the arguments of each step.

        slot: where it goes if that is free: where the trial was before, there may be nothing to capture again.
        """
        self.pretrainer, self.optimizer = pretrainer, optimizer
        self.rates, self.prepared, self.taken = rates, prepared, 0
        self.slot = slot
        self.sums: Future[Tensor] = Future()  # of `Losses.figures` over its steps, (2 + 2M,), or what went wrong


class FusedProgram:
    """Takes epochs of trials in P slots, a step of all at a time, in a thread of its own."""

    def __init__(self, settings: Settings, batches: Batches, slots: int, epoch: Epoch) -> None:
        """epoch: the first one. settings, batches: of its trial, whose numbers are of no account."""
        self._at: list[Epoch | None] = [None] * slots
        self._waiting = deque([epoch])
        self._failed = self._closed = False
        self._news = Condition()
        given = (settings, batches, torch.get_num_threads())
        self._thread = Thread(target=self._run, args=given, name="fused", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        with self._news:
            return bool(self._waiting or any(self._at))

    def submit(self, epoch: Epoch) -> bool:
        """Have an epoch's steps taken. Its owner then waits for the result. Returns False if the program has failed."""
        with self._news:
            if not self._failed:
                self._waiting.append(epoch)
                self._news.notify_all()
            return not self._failed

    def close(self) -> None:
        """End the thread, when it has nothing to do, and free the memory."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join()

    def _run(self, settings: Settings, batches: Batches, threads: int) -> None:
        keep_to(threads)
        try:
            with torch.cuda.device(batches.device) if batches.device.type == "cuda" else nullcontext():
                self._take_steps(settings, batches)
        except Exception as error:  # whoever waits for it says what it means
            clear_frames(error.__traceback__)  # they hold the slots, whose memory the next program needs
            with self._news:
                self._failed = True
                epochs = [*filter(None, self._at), *self._waiting]
                self._at = [None] * len(self._at)
                self._waiting.clear()
            for epoch in epochs:
                epoch.sums.set_exception(error)

    def _take_steps(self, settings: Settings, batches: Batches) -> None:
        slots = _Slots(settings, self._waiting[0].pretrainer, batches, len(self._at))
        while self._enter(slots):
            self._prepare(slots)
            slots.step(self._at)
            self._leave(slots)

    def _enter(self, slots: _Slots) -> bool:
        """Put those that wait into free slots; wait while there is nothing to do. Returns False once it is closed."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or any(self._at) or self._closed)
            free = [p for p, epoch in enumerate(self._at) if epoch is None]
            while free and self._waiting:
                epoch = self._waiting.popleft()
                epoch.slot = epoch.slot if epoch.slot in free else free[0]
                free.remove(epoch.slot)
                self._at[epoch.slot] = epoch
                slots.put(epoch)
            return any(self._at)

    def _prepare(self, slots: _Slots) -> None:
        """Give each slot what its step needs. One that cannot have it leaves alone."""
        for p, epoch in enumerate(self._at):
            try:
                if epoch is not None:
                    slots.give(epoch)
            except Exception as error:
                self._free(p).sums.set_exception(error)

    def _leave(self, slots: _Slots) -> None:
        """End the epochs whose last step is taken."""
        for p, epoch in enumerate(self._at):
            if epoch is not None and epoch.taken == len(epoch.rates):
                sums = slots.fetch(epoch)
                self._free(p).sums.set_result(sums)

    def _free(self, p: int) -> Epoch:
        """Empty a slot. Returns what was there."""
        with self._news:
            epoch, self._at[p] = self._at[p], None
        assert epoch
        return epoch


class _Slots:
    """The state of P trials, and a step of all."""

    def __init__(self, settings: Settings, pretrainer: Pretrainer, batches: Batches, slots: int) -> None:
        online = build_encoder(settings, batches.store.width, keyed_generator(0, "slots"), trials=slots)
        M, size, dim = pretrainer.banks.keys_MKD.shape
        banks = MemoryBanks(slots * M, size, dim, keyed_generator(0, "slots"), trials=slots)
        self._pretrainer = FusedPretrainer(online, banks, [pretrainer.objective] * slots).to(batches.device).train()
        self._optimizer = SlotOptimizer(
            self._pretrainer.online.parameters(), slots, lambda groups: build_optimizer(settings, groups)
        )
        self._take = TrainingStep(self._pretrainer, self._optimizer, batches.fused_views, batches.device)
        self._inputs: list[Tensor] = []

    @torch.no_grad()
    def put(self, epoch: Epoch) -> None:
        self._pretrainer.put(epoch.slot, epoch.pretrainer)
        self._optimizer.put(epoch.slot, epoch.optimizer)
        self._take.weights_changed(epoch.slot)
        self._take.sums[epoch.slot].zero_()

    def give(self, epoch: Epoch) -> None:
        """Copy the arguments of an epoch's next step."""
        prepared = next(epoch.prepared)
        if not self._inputs:  # in slots that no trial has had, too, since what is there must be possible
            self._inputs = [torch.stack([x] * len(self._take.rates)) for x in prepared]
        for whole, x in zip(self._inputs, prepared, strict=True):
            whole[epoch.slot].copy_(x)

    def step(self, at: Sequence[Epoch | None]) -> None:
        """A step of each slot that has an epoch."""
        if not any(at):
            return
        rates = [epoch.rates[epoch.taken] if epoch else 0.0 for epoch in at]
        for epoch in filter(None, at):
            epoch.taken += 1
        self._take(self._inputs, *rates, goes_on=[epoch is None or epoch.taken < len(epoch.rates) for epoch in at])

    @torch.no_grad()
    def fetch(self, epoch: Epoch) -> Tensor:
        """Give the trial its state back. Returns the sums of the epoch's figures."""
        self._pretrainer.fetch(epoch.slot, epoch.pretrainer, epoch.taken)
        self._optimizer.fetch(epoch.slot, epoch.optimizer)
        return self._take.sums[epoch.slot].clone()
