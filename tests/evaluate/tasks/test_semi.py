"""`semi`: which labels are used, and what is averaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmd_tune.evaluate.tasks import TASKS, semi


def test_it_is_the_mean_and_spread_of_five_subsets(subject, monkeypatch):
    seen = []
    original = semi.train_and_classify

    def watch(part, recipe, name, progress):
        seen.append(part.data.train_N)
        return original(part, recipe, name, progress)

    monkeypatch.setattr(semi, "train_and_classify", watch)
    progress = []
    measures = TASKS["semi"].measure(subject, lambda done, total: progress.append((done, total)))
    assert progress == [(done, 4 * 5 * 2) for done in range(1, 4 * 5 * 2 + 1)]
    label_N = subject.data.store.label_N
    assert [np.bincount(label_N[clips]).tolist() for clips in seen[::5]] == [[1] * 3, [1] * 3, [2] * 3, [3] * 3]
    assert all(set(clips) <= set(subject.data.train_N) for clips in seen)
    assert len({tuple(clips) for clips in seen[15:]}) == 5
    kept = [original(replace(subject), None, f"semi20-{run}", None)[0] for run in range(5)]  # not run again
    label_Q = torch.from_numpy(label_N[subject.data.query_N])
    joint = [100 * float((run[0] == label_Q).float().mean()) for run in kept]
    assert measures[3].estimates["joint"].value == pytest.approx(np.mean(joint), rel=1e-5)
    assert measures[3].estimates["joint"].std == pytest.approx(np.std(joint, ddof=1), rel=1e-5)
