"""Accuracies of predicted labels, with intervals that take the clips of one subject together.

S stream (see similarity.py), Q query.
"""

from collections.abc import Sequence

from torch import Tensor

from cmd_tune.evaluate.classifier import LabelledClips
from cmd_tune.evaluate.intervals import Groups, group_queries
from cmd_tune.evaluate.tally import count_hits
from cmd_tune.evaluate.tasks.base import Estimate, Measure


def query_groups(data: LabelledClips) -> Groups:
    """The queries, grouped by subject."""
    return group_queries(data.store.subject_N[data.query_N])


def accuracy(key: str, title: str, predicted_SQ: Tensor, data: LabelledClips, streams: Sequence[str]) -> Measure:
    """The share of right queries, in percent, with its interval."""
    predicted_SQ = predicted_SQ.cpu()
    hits_SQ = predicted_SQ == data.labels(data.query_N, predicted_SQ.device)
    predicted = dict(zip(streams, predicted_SQ.tolist(), strict=True))
    return Measure(key, title, shares(hits_SQ, data, streams), predicted)


def shares(hits_SQ: Tensor, data: LabelledClips, streams: Sequence[str]) -> dict[str, Estimate]:
    """The share of true entries of each stream, in percent, with its interval. hits_SQ: on the CPU."""
    hits = {name: hit_Q.numpy() for name, hit_Q in zip(streams, hits_SQ, strict=True)}
    tally = count_hits(query_groups(data), hits)
    return {name: Estimate(tally.percent(name), *(tally.interval(name) or ())) for name in streams}
