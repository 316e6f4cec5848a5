"""Accuracies: which interval they have, and over what."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmd_tune.evaluate.intervals import clustered_interval, wilson_interval
from cmd_tune.evaluate.tasks import accuracy


def predictions(subject):
    """Labels of two streams: the first right for two of three clips or so, the second for none."""
    label_Q = subject.labels[1]
    generator = torch.Generator().manual_seed(0)
    wrong_Q = torch.rand(len(label_Q), generator=generator) < 1 / 3
    return torch.stack((label_Q + wrong_Q, label_Q + 1))


def test_accuracies_are_counted_with_their_interval(subject):
    predicted_SQ = predictions(subject)
    store, query_N = subject.data.store, subject.data.query_N
    measure = accuracy("key", "title", predicted_SQ, subject.data, ("joint", "fused"))
    subject_Q = store.subject_N[query_N]
    for stream, predicted_Q in zip(("joint", "fused"), predicted_SQ.numpy(), strict=True):
        hit_Q = predicted_Q == store.label_N[query_N]
        assert measure.predicted[stream] == predicted_Q.tolist()
        estimate = measure.estimates[stream]
        assert estimate.value == pytest.approx(100 * hit_Q.mean())
        by_subject = [hit_Q[subject_Q == number] for number in np.unique(subject_Q)]
        assert (estimate.low, estimate.high) == clustered_interval(
            [int(hits.sum()) for hits in by_subject], [len(hits) for hits in by_subject]
        )
    assert measure.estimates["fused"].value == 0


def test_without_subjects_clips_are_taken_by_themselves(subject):
    nobody = replace(subject.data.store, subject_N=np.zeros_like(subject.data.store.subject_N))
    data = replace(subject.data, store=nobody)
    for estimate in accuracy("key", "title", predictions(subject), data, ("joint", "fused")).estimates.values():
        assert (estimate.low, estimate.high) == wilson_interval(estimate.value, len(data.query_N))
