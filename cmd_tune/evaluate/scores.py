"""The scores of a run on a split, and the baselines that stand beside every result. Accuracies in percent.

M modality, S stream (a modality, or fused), N clip, Q query, F feature, L label.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cmd_tune.data.splits import GalleryAndQueries, Indices
from cmd_tune.data.store import Store
from cmd_tune.evaluate.features import extract_features
from cmd_tune.evaluate.intervals import group_queries
from cmd_tune.evaluate.knn import knn_predictions
from cmd_tune.evaluate.linear import linear_predictions
from cmd_tune.evaluate.raw_skeletons import raw_predictions
from cmd_tune.evaluate.tally import Tally, count_hits
from cmd_tune.model.encoders import Encoder
from cmd_tune.settings import Settings

PROBES = {"knn": "1-NN", "linear": "solved"}  # the kinds of accuracy, and the words for how each is found

Scores = dict[str, float]
Hits = dict[str, Tensor]  # by metric: whether each query is right, (Q,), over all rounds end to end
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]  # gallery (M, G, F), query (M, Q, F), labels (G) → (M + 1, Q)


def encoder_scores(
    encoders: Encoder, store: Store, rounds: Sequence[GalleryAndQueries], settings: Settings, *, prefix: str
) -> Scores:
    """`{prefix}/knn/{modality}`, `{prefix}/knn/fused` and the same under `linear`, over the queries of all rounds.

    fused: for KNN the mean of the modalities' cosines, for the linear probe the mean of their probabilities.
    Every worker of a trial must call it.
    """
    return percent_right(encoder_hits(encoders, store, rounds, settings, prefix=prefix))


def raw_knn_scores(
    store: Store, rounds: Sequence[GalleryAndQueries], *, modalities: Sequence[str], prefix: str
) -> Scores:
    """1-nearest-neighbour accuracy of the normalised skeletons themselves, by each modality and fused."""
    return percent_right(raw_knn_hits(store, rounds, modalities=modalities, prefix=prefix))


def encoder_hits(
    encoders: Encoder, store: Store, rounds: Sequence[GalleryAndQueries], settings: Settings, *, prefix: str
) -> Hits:
    """The hits of which `encoder_scores` is the mean: for each metric, whether each query is right."""
    clips_N = _clips(rounds)
    features_MNF = extract_features(encoders, store, clips_N, modalities=settings.modalities, frames=settings.frames)
    hits: Hits = {}
    for name, predict in (("knn", knn_predictions), ("linear", linear_predictions)):
        hits_SQ = _hits(predict, features_MNF, clips_N, store, rounds)
        hits |= _named(f"{prefix}/{name}", hits_SQ, settings.modalities)
    return hits


def raw_knn_hits(store: Store, rounds: Sequence[GalleryAndQueries], *, modalities: Sequence[str], prefix: str) -> Hits:
    """The hits of which `raw_knn_scores` is the mean: for each metric, whether each query is right."""
    hits = [raw_predictions(store, r, modalities)[:-1] == torch.from_numpy(store.label_N[r.query_N]) for r in rounds]
    return _named(f"{prefix}/knn", torch.cat(hits, dim=1), modalities)


def percent_right(hits: Hits) -> Scores:
    return {name: (100 * hit_Q.sum() / len(hit_Q)).item() for name, hit_Q in hits.items()}


def tally_of(store: Store, rounds: Sequence[GalleryAndQueries], hits: Hits) -> Tally:
    """The hits by subject."""
    subject_Q = np.concatenate([store.subject_N[r.query_N] for r in rounds])
    return count_hits(group_queries(subject_Q), {name: hit_Q.numpy() for name, hit_Q in hits.items()})


def _clips(rounds: Sequence[GalleryAndQueries]) -> Indices:
    return np.unique(np.concatenate([part for r in rounds for part in (r.gallery_N, r.query_N)]))


def _hits(
    predict: Predict, x_MNF: Tensor, clips_N: Indices, store: Store, rounds: Sequence[GalleryAndQueries]
) -> Tensor:
    """Whether each prediction is right, over the queries of all rounds, (M + 1, Q): modalities, then fused."""
    hits: list[Tensor] = []
    for r in rounds:
        gallery_MGF = x_MNF[:, np.searchsorted(clips_N, r.gallery_N)]
        query_MQF = x_MNF[:, np.searchsorted(clips_N, r.query_N)]
        label_G, label_Q = (torch.from_numpy(store.label_N[part]).to(x_MNF.device) for part in (r.gallery_N, r.query_N))
        hits.append((predict(gallery_MGF, query_MQF, label_G.long()) == label_Q).cpu())
    return torch.cat(hits, dim=1)


def _named(prefix: str, hits_SQ: Tensor, modalities: Sequence[str]) -> Hits:
    return {f"{prefix}/{name}": hit_Q for name, hit_Q in zip((*modalities, "fused"), hits_SQ, strict=True)}
