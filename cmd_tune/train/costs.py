"""What a run has cost so far, as metrics of each epoch, so that a search can choose by it."""

from collections.abc import Iterable, Mapping

COST = "cost/"  # begins the names of metrics of which less is better
SECONDS, PARAMETERS = "cost/seconds", "cost/parameters"


def costs(epochs: Iterable[Mapping[str, float]], parameters: int) -> dict[str, float]:
    """Seconds of training over all epochs so far, scores not counted; parameters of the encoder, of all branches.

    epochs: their metrics, also those that an earlier release recorded.
    """
    return {SECONDS: round(sum(record.get("seconds", 0.0) for record in epochs), 3), PARAMETERS: parameters}
