"""Intervals of accuracies, by the clips they were counted on and the subjects of these.

Clips of one subject are not independent: a subject that is easily recognised in one clip is so in others. The number of
subjects then decides. Q query, G group: the queries of a subject, or a single query if subjects are not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Interval = tuple[float, float]

LEVEL = 0.95


@dataclass(frozen=True)
class Groups:
    """The group of each query. group_Q: 0 to `count` - 1. by_subject False: each query is a group."""

    group_Q: NDArray[np.int64]
    by_subject: bool

    @property
    def count(self) -> int:
        return int(self.group_Q.max()) + 1

    @property
    def clips(self) -> list[int]:
        """The number of queries in each group."""
        return np.bincount(self.group_Q).tolist()

    def sums(self, hit_Q: NDArray[np.bool_]) -> list[int]:
        """The number of right answers in each group."""
        return np.bincount(self.group_Q, hit_Q, self.count).astype(int).tolist()


def group_queries(subject_Q: NDArray[np.int32]) -> Groups:
    """Group queries by subject if all subjects are known (not 0) and there are two or more; else each by itself."""
    subjects, group_Q = np.unique(subject_Q, return_inverse=True)
    if len(subjects) < 2 or 0 in subjects:
        return Groups(np.arange(len(subject_Q)), False)
    return Groups(group_Q.astype(np.int64), True)


def wilson_interval(percent: float, count: float, level: float = LEVEL) -> Interval:
    """The interval, in percent, of an accuracy over `count` independent clips.

    Wilson, JASA 1927: the shares p whose distance to the observed one is within z standard errors *at p*. It stays in
    0 to 100, and is useful at both ends, at which the textbook's interval is empty.
    """
    return _wilson(percent / 100, count, NormalDist().inv_cdf((1 + level) / 2))


def clustered_interval(right_G: Sequence[int], clips_G: Sequence[int], level: float = LEVEL) -> Interval:
    """The interval, in percent, of an accuracy over clips that come in two groups or more.

    Wilson's, of as many independent clips as would give the variance that leaving one group out at a time shows (the
    jackknife), at most as many as there are, with Student's t of G - 1 degrees. Franco, Little, Louis and Slud
    (J. Surv. Stat. Methodol. 2019) recommend Wilson's with such an effective number; Cameron and Miller (J. Hum.
    Resour. 2015) the jackknife and t for few groups.
    """
    clips, share = sum(clips_G), sum(right_G) / sum(clips_G)
    independent = share * (1 - share) / clips
    inflation = max(1.0, _variance(right_G, clips_G) / independent) if independent else 1.0
    return _wilson(share, clips / inflation, float(stdtrit(len(clips_G) - 1, (1 + level) / 2)))


def difference_interval(
    right_G: Sequence[int], other_G: Sequence[int], clips_G: Sequence[int], level: float = LEVEL
) -> Interval:
    """The interval, in points, of one accuracy less another on the same clips, in two groups or more: paired.

    Student's t of G - 1 degrees on the jackknife's variance over groups.
    """
    gain_G = [a - b for a, b in zip(right_G, other_G, strict=True)]
    half = float(stdtrit(len(clips_G) - 1, (1 + level) / 2)) * sqrt(_variance(gain_G, clips_G))
    mean = sum(gain_G) / sum(clips_G)
    return 100 * (mean - half), 100 * (mean + half)


def _variance(sum_G: Sequence[int], clips_G: Sequence[int]) -> float:
    """The variance of the mean over all clips, by leaving out one group at a time."""
    sums, clips = np.asarray(sum_G, float), np.asarray(clips_G, float)
    without_G = (sums.sum() - sums) / (clips.sum() - clips)
    return float((len(clips) - 1) / len(clips) * ((without_G - sums.sum() / clips.sum()) ** 2).sum())


def _wilson(share: float, count: float, z: float) -> Interval:
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)
