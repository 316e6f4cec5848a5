"""Encoders with a classifier on each stream, trained with labels: a linear probe by steps, or the whole network.

All modalities are trained at once. They share no parameter, so each gets what it would get alone.
S stream (see similarity.py), M modality, B sample, N clip, Q query, T frame, X input channel, F feature, L label.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmd_tune.compute.device import to_device
from cmd_tune.compute.optimizers import SGD
from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.compute.slower import warn_slower
from cmd_tune.compute.threads import steadily
from cmd_tune.data.splits import Indices
from cmd_tune.data.store import Store
from cmd_tune.data.views import CropShear
from cmd_tune.data.views.modalities import stack_modalities
from cmd_tune.errors import DataError, Diverged
from cmd_tune.evaluate.features import extract_features
from cmd_tune.model.encoders import Encoder
from cmd_tune.settings import Settings
from cmd_tune.train.checkpoint import load_checkpoint, save_checkpoint

_CHECKPOINT_EVERY = 5  # epochs
_STD = 0.01  # of a classifier's initial weights


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained: SGD, the rate ×0.1 at each milestone, and one random crop of each clip per epoch.

    The defaults are the linear evaluation of Mao et al., ECCV 2022, and its code: frozen encoders in eval mode, no
    weight decay. frozen False trains encoders and classifiers together.
    """

    frozen: bool = True
    learning_rate: float = 0.1
    epochs: int = 80
    milestones: tuple[int, ...] = (50, 70)
    sgd_momentum: float = 0.9
    batch_size: int = 64
    crop_min_share: float = 0.5

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, from 1."""
        return self.learning_rate * 0.1 ** sum(epoch > milestone for milestone in self.milestones)


LINEAR = Recipe()
FINETUNE = Recipe(frozen=False, learning_rate=0.01)


class Classifier(nn.Module):
    """Encoders, and a linear classifier on the features of each modality; frozen ones also on all features joined."""

    def __init__(self, encoders: Encoder, classes: int, *, joined: bool, generator: torch.Generator) -> None:
        """encoders: used as they are, not copied. joined: with a classifier on the features of all modalities."""
        super().__init__()
        self.encoders = encoders
        modalities, width = encoders.modalities, encoders.feature_size
        self.weight_MFL = nn.Parameter(_STD * torch.randn(modalities, width, classes, generator=generator))
        self.bias_M1L = nn.Parameter(torch.zeros(modalities, 1, classes))
        # skip_init: PyTorch's own initial values would be drawn from the global random state.
        self.joined = nn.utils.skip_init(nn.Linear, modalities * width, classes) if joined else None
        if self.joined is not None:
            nn.init.zeros_(self.joined.bias)
            with torch.no_grad():
                self.joined.weight.copy_(_STD * torch.randn(self.joined.weight.shape, generator=generator))

    def of_features(self, features_MBF: Tensor) -> Tensor:
        """Logits, (M, B, L) or, with the joined features' last, (M + 1, B, L)."""
        logits_MBL = torch.baddbmm(self.bias_M1L, features_MBF, self.weight_MFL)
        if self.joined is None:
            return logits_MBL
        return torch.cat((logits_MBL, self.joined(features_MBF.transpose(0, 1).flatten(1))[None]))

    def heads(self) -> list[nn.Parameter]:
        """All parameters but the encoders'."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("encoders.")]


@dataclass(frozen=True)
class LabelledClips:
    """Training clips and queries, with the settings that say how clips are seen."""

    store: Store
    settings: Settings
    train_N: Indices
    query_N: Indices

    def labels(self, clips_N: Indices, device: torch.device) -> Tensor:
        return torch.from_numpy(self.store.label_N[clips_N]).long().to(device)


@steadily
def train_classifier(
    classifier: Classifier,
    data: LabelledClips,
    recipe: Recipe,
    *,
    key: tuple[int | str, ...],
    checkpoint: Path | None = None,
    after_epoch: Callable[[int], list[float]] = lambda epoch: [],
) -> list[list[float]]:
    """Train in place, to the last epoch; an incomplete last batch is used as well. Returns what after_epoch returned.

    key: of the draws; two runs with one key are the same. checkpoint: training continues from it if it exists; it is
    written every few epochs. Raises Diverged if the loss is not finite.
    """
    device = classifier.bias_M1L.device
    encoders = classifier.encoders
    encoders.requires_grad_(not recipe.frozen)
    trained = classifier.heads() if recipe.frozen else list(classifier.parameters())
    optimizer = SGD(trained, lr=recipe.learning_rate, momentum=recipe.sgd_momentum)
    label_N = data.labels(data.train_N, device)
    clips = torch.from_numpy(data.train_N)
    history = _resume(checkpoint, classifier, optimizer)
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch)
        order_N = torch.randperm(len(clips), generator=keyed_generator(*key, "order", epoch))
        views = _Crops(data, clips[order_N], recipe, keyed_generator(*key, "crops", epoch), device)
        # A frozen encoder in eval mode gives a clip the same features in any batch: they are taken in large ones.
        features_MNF = _features(encoders, data, clips[order_N], views) if recipe.frozen else None
        encoders.train(not recipe.frozen)
        total = torch.zeros((), device=device)
        for first in range(0, len(clips), recipe.batch_size):
            place_B = torch.arange(first, min(first + recipe.batch_size, len(clips)))
            if features_MNF is None:
                x_MBTX = stack_modalities(views(place_B), data.settings.modalities, data.store.layout)
                features_MBF = encoders.features(x_MBTX)
            else:
                features_MBF = features_MNF[:, first : first + recipe.batch_size]
            logits_SBL = classifier.of_features(features_MBF)
            label_SB = label_N[to_device(order_N[place_B], device)].expand(len(logits_SBL), -1)
            loss = F.cross_entropy(logits_SBL.flatten(0, 1), label_SB.flatten(), reduction="sum") / len(place_B)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        if not total.isfinite():
            raise Diverged(f"the classifiers' loss is {total.item()} in epoch {epoch}; are the encoders whole?")
        history.append(after_epoch(epoch))
        if checkpoint and epoch % _CHECKPOINT_EVERY == 0:
            state = {"classifier": classifier.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
            save_checkpoint(checkpoint, state)
    return history


@steadily
@torch.no_grad()
def classify(classifier: Classifier, data: LabelledClips) -> Tensor:
    """Labels of the queries' centre crops: (M + 1, Q), the last by the mean of the modalities' probabilities.

    With a classifier of joined features, (S, Q).
    """
    features_MQF = _features(classifier.encoders, data, torch.from_numpy(data.query_N), None)
    probability_SQL = classifier.of_features(features_MQF).softmax(2)
    modalities = len(features_MQF)
    fused_QL = probability_SQL[:modalities].mean(0)
    return torch.cat((probability_SQL[:modalities], fused_QL[None], probability_SQL[modalities:])).argmax(2)


class _Crops:
    """One epoch's random crops of a list of clips, drawn at once and made a few at a time."""

    def __init__(
        self, data: LabelledClips, clips_N: Tensor, recipe: Recipe, generator: torch.Generator, device: torch.device
    ) -> None:
        self.store, self.frames, self.device = data.store, data.settings.frames, device
        self.start_N = data.store.start_N[clips_N]
        self.view = CropShear(data.settings.crop_min_frames, recipe.crop_min_share, shear_range=0, corrupted_share=0)
        joints = len(data.store.layout.joints)
        self.draws = self.view.draw(data.store.length_N[clips_N], joints, generator)

    def __call__(self, place_B: Tensor) -> Tensor:
        draws, shape = tuple(x[place_B] for x in self.draws), self.store.frame_shape()
        x_BTVCP = self.view.make(self.store.rows_FX, self.start_N[place_B], draws, self.frames, shape)
        return to_device(x_BTVCP, self.device)


def _features(encoders: Encoder, data: LabelledClips, clips_N: Tensor, views: _Crops | None) -> Tensor:
    settings = data.settings
    clips = clips_N.numpy()
    return extract_features(
        encoders, data.store, clips, modalities=settings.modalities, frames=settings.frames, views=views
    )


def _resume(checkpoint: Path | None, classifier: Classifier, optimizer: torch.optim.Optimizer) -> list[list[float]]:
    """Load the checkpoint, if there is one, and return its history, one value per epoch."""
    if checkpoint is None or not checkpoint.exists():
        return []
    try:
        state = load_checkpoint(checkpoint, classifier.bias_M1L.device)
    except DataError as error:
        warn_slower(f"{error}; the classifier is trained from its first epoch")
        return []
    classifier.load_state_dict(state["classifier"])
    optimizer.load_state_dict(state["optimizer"])
    return state["history"]
