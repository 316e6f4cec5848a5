"""The scores of a run on a split, and the baselines that stand beside every result. Accuracies in percent.

M modality, N clip, Q query, F feature, L label.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cmd_tune.config import Settings
from cmd_tune.data.splits import Indices, Retrieval
from cmd_tune.data.store import Store
from cmd_tune.evaluate.features import extract_features
from cmd_tune.evaluate.knn import knn_predictions
from cmd_tune.evaluate.linear import linear_predictions
from cmd_tune.evaluate.raw import raw_predictions
from cmd_tune.model.encoder import Encoders

PROBES = {"knn": "1-NN", "linear": "solved"}  # by what each kind of accuracy is found: cosine; multinomial regression

Scores = dict[str, float]
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]  # gallery (M, G, F), query (M, Q, F), labels (G) → (M + 1, Q)


def encoder_scores(
    encoders: Encoders, store: Store, rounds: Sequence[Retrieval], settings: Settings, *, prefix: str
) -> Scores:
    """`{prefix}/knn/{modality}`, `{prefix}/knn/fused` and the same under `linear`, over the queries of all rounds.

    fused: for KNN the mean of the modalities' cosines, for the linear probe the mean of their probabilities.
    Every worker of a trial must call it.
    """
    clips_N = _clips(rounds)
    features_MNF = extract_features(encoders, store, clips_N, modalities=settings.modalities, frames=settings.frames)
    scores: Scores = {}
    for name, predict in (("knn", knn_predictions), ("linear", linear_predictions)):
        accuracies = _accuracies(predict, features_MNF, clips_N, store, rounds)
        scores |= _named(f"{prefix}/{name}", accuracies, settings.modalities)
    return scores


def raw_knn_scores(store: Store, rounds: Sequence[Retrieval], *, modalities: Sequence[str], prefix: str) -> Scores:
    """1-nearest-neighbour accuracy of the normalised skeletons themselves, by each modality and fused."""
    hits = torch.zeros(len(modalities) + 1)
    for r in rounds:
        predicted_SQ = raw_predictions(store, r, modalities)[:-1]
        hits += (predicted_SQ == torch.from_numpy(store.label_N[r.query_N])).sum(1)
    queries = sum(len(r.query_N) for r in rounds)
    return _named(f"{prefix}/knn", (100 * hits / queries).tolist(), modalities)


def _clips(rounds: Sequence[Retrieval]) -> Indices:
    return np.unique(np.concatenate([part for r in rounds for part in (r.gallery_N, r.query_N)]))


def _accuracies(
    predict: Predict, x_MNF: Tensor, clips_N: Indices, store: Store, rounds: Sequence[Retrieval]
) -> list[float]:
    """Percent of right predictions over the queries of all rounds: M modalities, then fused."""
    hits, queries = torch.zeros(x_MNF.shape[0] + 1), 0
    for r in rounds:
        gallery_MGF = x_MNF[:, np.searchsorted(clips_N, r.gallery_N)]
        query_MQF = x_MNF[:, np.searchsorted(clips_N, r.query_N)]
        label_G, label_Q = (torch.from_numpy(store.label_N[part]).to(x_MNF.device) for part in (r.gallery_N, r.query_N))
        hits += (predict(gallery_MGF, query_MQF, label_G.long()) == label_Q).sum(1).cpu()
        queries += len(r.query_N)
    return (100 * hits / queries).tolist()


def _named(prefix: str, accuracies: Sequence[float], modalities: Sequence[str]) -> Scores:
    return {f"{prefix}/{name}": value for name, value in zip((*modalities, "fused"), accuracies, strict=True)}
