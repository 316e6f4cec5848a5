"""How far an accuracy can be trusted, from the number of clips it was counted on."""

from math import sqrt
from statistics import NormalDist


def wilson_interval(hits: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share of `count` independent trials, from 0 to 1, both ends included.

    Wilson, JASA 1927: the shares p whose distance to the observed one is within z standard errors *at p*. It stays in
    [0, 1] and is of use at 0 and at 100 %, where the textbook's interval is empty.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)
