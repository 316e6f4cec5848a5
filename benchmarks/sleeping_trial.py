"""A host of Ray whose trials sleep in place of pretraining: what is left is what a search itself takes."""

import time
from collections.abc import Callable
from math import log
from typing import Any

from cmd_tune.search.execution import trial_process
from cmd_tune.search.execution.ray_hosts import _be_host
from cmd_tune.settings import Settings

_INPUTS = ("joint", "motion", "bone")
_SCORES = [f"val/{task}/{stream}" for task in ("knn", "linear") for stream in (*_INPUTS, "fused")]
_LOSSES = [
    "learning_rate",
    "loss/total",
    "loss/cmd",
    *(f"{of}/{name}" for of in ("loss", "accuracy") for name in _INPUTS),
]


def sleeping_host(seconds: float) -> Callable[..., None]:
    """What Ray runs in the place of `_be_host`: an epoch is a sleep of so many seconds."""

    def be_sleeping_host(*arguments: Any) -> None:
        def sleep_through(settings: Settings, source: Any, folder: Any, report: Callable[..., None], **_: Any) -> None:
            for epoch in range(1, settings.epochs + 1):
                time.sleep(seconds)
                report(made_up(settings, epoch, seconds))

        trial_process.run = sleep_through  # type: ignore[attr-defined,assignment]
        _be_host(*arguments)

    return be_sleeping_host


def made_up(settings: Settings, epoch: int, seconds: float) -> dict[str, float]:
    """A record with as many metrics as a real one has: the best temperatures are (0.05, 0.1), at the last epoch."""
    far = abs(log(settings.teacher_temperature / 0.05)) + abs(log(settings.student_temperature / 0.1))
    score = (60.0 - 5.0 * far) * (1 - 0.5**epoch)
    losses = dict.fromkeys(_LOSSES, 10.0 - 0.1 * score)
    return {"epoch": epoch, "seconds": seconds, **losses, **dict.fromkeys(_SCORES, score)}
