"""A run's test score beside those of its baselines, in words."""

from pathlib import Path

from cmd_tune.evaluate.tally import read_tally
from cmd_tune.formatting import percent, signed
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY, UNTRAINED_TALLY


def against_baselines(name: str, metric: str, place: Path, folder: Path) -> str:
    """A test score beside the baselines' on the same clips, with 95 % intervals; empty where it was not counted.

    place: where `test_scores` left its count. folder: where `baseline_scores` did.
    """
    ours = read_tally(place / TEST_TALLY)
    if ours is None or metric not in ours.right:
        return ""
    parts = [f"{name} {percent(ours.percent(metric), ours.interval(metric))}"]
    for title, file in (("untrained", UNTRAINED_TALLY), ("raw 1-NN", RAW_TALLY)):
        other = read_tally(folder / file)
        if other and (bounds := ours.above(other, metric)):
            gain = signed(ours.percent(metric) - other.percent(metric), bounds)
            parts.append(f"less {title}, {percent(other.percent(metric), other.interval(metric))}: {gain}")
    over = f"95 % intervals {ours.describe()}; they do not cover what other seeds would change"
    return f"{metric}: {'; '.join(parts)}. {over}."
