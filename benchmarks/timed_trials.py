"""A host of Ray whose trials say for how long they train and validate, or sleep in place of that."""

import time
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

from cmd_tune.runs import pretrain_and_score
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution import trial_process
from cmd_tune.search.execution.ray_hosts import _be_host
from cmd_tune.settings import Settings

BUSY = "busy"  # in the records of epochs: seconds of training and validation
_INPUTS = ("joint", "motion", "bone")
_SCORES = [f"val/{task}/{stream}" for task in ("knn", "linear") for stream in (*_INPUTS, "fused")]
_LOSSES = [
    "learning_rate",
    "loss/total",
    "loss/cmd",
    *(f"{of}/{name}" for of in ("loss", "accuracy") for name in _INPUTS),
]


def timed_host(seconds: float) -> Callable[..., None]:
    """What Ray runs in the place of `_be_host`. seconds: for which an epoch sleeps; 0: it trains."""

    def be_timed_host(*arguments: Any) -> None:
        def sleep(settings: Settings, _: DataSource, __: Path, report: Callable[..., None], **___: Any) -> None:
            for epoch in range(1, settings.epochs + 1):
                time.sleep(seconds)
                report({**made_up(settings, epoch), "seconds": seconds, BUSY: seconds})

        trial_process.run = sleep if seconds else _train  # type: ignore[attr-defined,assignment]
        _be_host(*arguments)

    return be_timed_host


def _train(settings: Settings, source: DataSource, folder: Path, report: Callable[..., None], **options: Any) -> None:
    """Before its first epoch a trial opens data and builds its networks, which is not counted."""
    since = None

    def tell(record: dict[str, float]) -> None:
        nonlocal since
        busy = record["seconds"] if since is None else time.monotonic() - since
        report({**record, BUSY: busy})
        since = time.monotonic()

    pretrain_and_score.run(settings, source, folder, tell, **options)


def made_up(settings: Settings, epoch: int) -> dict[str, float]:
    """A record with as many metrics as a real one has: the best temperatures are (0.05, 0.1), at the last epoch."""
    far = abs(log(settings.teacher_temperature / 0.05)) + abs(log(settings.student_temperature / 0.1))
    score = (60.0 - 5.0 * far) * (1 - 0.5**epoch)
    losses = dict.fromkeys(_LOSSES, 10.0 - 0.1 * score)
    return {"epoch": epoch, **losses, **dict.fromkeys(_SCORES, score)}
