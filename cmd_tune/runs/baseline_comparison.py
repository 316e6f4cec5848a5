"""One line that compares a run's test score with those of its baselines."""

from pathlib import Path

from cmd_tune.evaluate.tally import read_tally
from cmd_tune.formatting import percent, signed
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY, UNTRAINED_TALLY


def against_baselines(name: str, metric: str, place: Path, folder: Path) -> str:
    """A test score and its differences from the baselines on the same clips, with 95 % intervals; empty if not counted.

    place: the folder of `test_scores`. folder: that of `baseline_scores`.
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
