"""How far an accuracy can be trusted, from the number of clips it was counted on."""

from math import sqrt
from statistics import NormalDist


def wilson_interval(percent: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """The interval, in percent, of an accuracy over `count` independent clips.

    Wilson, JASA 1927: the shares p whose distance to the observed one is within z standard errors *at p*. It stays in
    0 to 100, and is of use at both, where the textbook's interval is empty.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = percent / 100
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)
