"""The contract of an evaluation task: a function of an encoder with its data that returns lines of the table of scores.

M modality, Q query, G gallery, F feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cmd_tune.evaluate.classifier import LabelledClips
from cmd_tune.evaluate.features import extract_features
from cmd_tune.model.encoders import Encoder

Progress = Callable[[int, int], None]  # (done, in all)


@dataclass(frozen=True)
class Estimate:
    """A score in percent. low, high: its 95 % interval, with test clips grouped by subject. std: over runs."""

    value: float
    low: float | None = None
    high: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class Measure:
    """One line of a table. key: its name in metrics. predicted: labels of the queries by stream, if it predicts any.

    Where it predicts labels, its estimates are their accuracies.
    """

    key: str
    title: str
    estimates: dict[str, Estimate]
    predicted: dict[str, list[int]] | None = None


@dataclass(frozen=True)
class EncoderUnderTest:
    """Encoders to score on the test set of `data`.

    folder: keeps the finished parts of long tasks, so that an interrupted task continues. best_of_test: also report the
    best test accuracy over epochs, as public code does; that is selection on the test set.
    """

    encoders: Encoder
    data: LabelledClips
    folder: Path
    seed: int = 0
    best_of_test: bool = False

    @property
    def device(self) -> torch.device:
        return self.encoders.device

    @cached_property
    def features(self) -> tuple[Tensor, Tensor]:
        """Features of the training set and of the queries, (M, G, F) and (M, Q, F)."""
        data, settings = self.data, self.data.settings
        clips_N = np.concatenate((data.train_N, data.query_N))
        features_MNF = extract_features(
            self.encoders, data.store, clips_N, modalities=settings.modalities, frames=settings.frames
        )
        gallery_MGF, query_MQF = features_MNF.split([len(data.train_N), len(data.query_N)], dim=1)
        return gallery_MGF, query_MQF

    @property
    def labels(self) -> tuple[Tensor, Tensor]:
        """Labels of the training set and of the queries."""
        return self.data.labels(self.data.train_N, self.device), self.data.labels(self.data.query_N, self.device)


@dataclass(frozen=True)
class Task:
    """A task, and what is known of it before it runs.

    measure: returns the measures, and leaves the encoders as they are. Keys of measures belong to one task alone.
    has_curve: there is a test accuracy of each epoch, the best of which is a measure more under best_of_test.
    draws: its numbers depend on the seed of the EncoderUnderTest; without, they depend on encoders and data alone.
    other_data: it is given the data set that --transfer-data names.
    """

    measure: Callable[[EncoderUnderTest, Progress], list[Measure]]
    has_curve: bool = False
    draws: bool = False
    other_data: bool = False
