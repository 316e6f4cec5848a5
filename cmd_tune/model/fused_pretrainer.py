"""The branches of several trials of one shape, side by side in the first dimension of every tensor: one program.

Branches are independent until the objective joins those of a trial, so that a trial's numbers are those that it has by
itself, within rounding. What differs between trials (the objective's numbers, key momentum, pointer of the banks) is
in tensors, so that a CUDA graph of a step needs no new capture when a slot changes its trial.
P trial, M modality of a trial, G = P·M branch, B sample, T frame, X input channel, D embedding.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cmd_tune.model.encoders import Encoder
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import Objective
from cmd_tune.model.objectives.terms import NUMBERS
from cmd_tune.model.pretrainer import Losses, Pretrainer


class FusedPretrainer(Pretrainer):
    """A `Pretrainer` of P trials. Its losses have a further first dimension, P."""

    key_share_P: Tensor

    def __init__(self, online: Encoder, banks: MemoryBanks, objectives: Sequence[Objective]) -> None:
        """online: G query encoders, trial by trial. banks: made for P trials. objectives: P, of one structure."""
        super().__init__(online, banks, objectives[0], 0.0)
        self.objectives = list(objectives)
        self.numbers_PN = torch.zeros(len(objectives), len(NUMBERS))
        for p, objective in enumerate(objectives):
            self.set_numbers(p, objective)
        self.register_buffer("key_share_P", torch.zeros(len(objectives)), persistent=False)
        self._key_moves = [0.0] * len(objectives)

    @property
    def trials(self) -> int:
        return len(self.objectives)

    @property
    def figures_shape(self) -> tuple[int, ...]:
        return self.trials, 2 + 2 * len(self.banks.keys_MKD) // self.trials

    def put(self, p: int, trial: Pretrainer) -> None:
        """Copy a trial's state into slot p. The host does not wait."""
        for mine, its in self._shared(p, trial):
            mine.copy_(its)
        if self.objectives[p] != trial.objective:
            self.objectives[p] = trial.objective
            self.set_numbers(p, trial.objective)
        (self._key_moves[p],) = trial.key_moves
        self.key_share_P[p].fill_(self._key_moves[p])

    def fetch(self, p: int, trial: Pretrainer, steps: int) -> None:
        """Copy slot p's state into the trial that was put there so many steps ago."""
        for mine, its in self._shared(p, trial):
            its.copy_(mine)
        for encoders in (trial.online, trial.momentum):
            for count in encoders.buffers():
                if not (count.ndim or count.is_floating_point()):
                    count.add_(steps)

    def _shared(self, p: int, trial: Pretrainer) -> Iterator[tuple[Tensor, Tensor]]:
        """Slot p's part of each tensor, and the trial's own; neither those that count steps nor constants."""
        for mine, its in ((self.online, trial.online), (self.momentum, trial.momentum)):
            state = mine.state_dict()
            for name, x in its.state_dict().items():
                if x.ndim and len(state[name]) == self.trials * len(x):
                    yield state[name].chunk(self.trials)[p], x
        yield self.banks.keys_MKD.chunk(self.trials)[p], trial.banks.keys_MKD
        yield self.banks.pointer[p], trial.banks.pointer

    @property
    def key_moves(self) -> list[float]:
        return self._key_moves

    @torch.no_grad()
    def update_momentum(self) -> None:
        share_G = self.key_share_P[:, None].expand(-1, self.online.modalities // self.trials).flatten()
        for key, query in zip(self.momentum.parameters(), self.online.parameters(), strict=True):
            key.lerp_(query, share_G.view(-1, *[1] * (key.ndim - 1)))

    def losses(self, query_MBD: Tensor, key_MBD: Tensor) -> Losses:
        """Losses of each trial's embedded views, (G, B, D), against its banks, with trials first."""
        return Losses(*self.losses_of_trials(query_MBD, key_MBD))
