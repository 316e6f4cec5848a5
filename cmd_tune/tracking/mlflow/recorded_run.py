"""The state of a run in MLflow, and epochs' metrics in MLflow's form."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cmd_tune.tracking.mlflow.inputs import known_inputs

_STEPPED = ("loss/", "val/", "system/")  # metrics of an epoch that MLflow gets; the run's folder has all of them


@dataclass
class RecordedRun:
    """The parts of a run that are known to be in MLflow."""

    run_id: str
    start: int  # ms
    end: int | None
    status: str  # in MLflow's words
    tags: dict[str, str]
    params: set[str]
    scores: dict[str, float]
    data: set[str]  # digests of its data sets
    read: bool = True  # whether it may have epochs beyond its tag: written by others, or by a call that failed
    changed: bool = False  # whether it has got metrics in this session


def recorded(run: Any) -> RecordedRun:
    """A run as MLflow's client returns it."""
    info, data = run.info, run.data
    tags, params = dict(data.tags), set(data.params)
    times = info.start_time, info.end_time
    return RecordedRun(info.run_id, *times, info.status, tags, params, dict(data.metrics), known_inputs(run))


def epoch_metrics(epochs: list[dict[str, float]], start: int) -> Iterator[Any]:
    """Metrics of epochs, as MLflow's. start: of the run, in ms.

    A metric's time is the run's start and the seconds of its epochs so far: the same whenever it is written.
    """
    from mlflow.entities import Metric

    seconds = 0.0
    for record in epochs:
        seconds += record.get("seconds", 0.0)
        for name, value in record.items():
            if name.startswith(_STEPPED):
                yield Metric(name, value, start + round(1000 * seconds), int(record["epoch"]))
