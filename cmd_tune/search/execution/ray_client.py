"""A trial as Ray Tune has it: a light client that fetches a report at a time from the desk.

It loads no PyTorch. Its task is at the desk before its process is up, so that a host may have begun. When Tune starts
it again it leaves its task anew, and the trial goes on from the checkpoint in its folder, since its host does.
"""

from typing import Any

from ray import tune

from cmd_tune.search.execution.desk import NOTHING
from cmd_tune.search.execution.ray_desk import find_desk

_PATIENCE_S = 20.0  # of a question to the desk, which is then asked again


class HostLost(RuntimeError):
    """The host of a trial is gone, and Tune may start the trial again."""


class TrialClient(tune.Trainable):
    """Tune's Trainable. Its configuration is a task as plain values; each of its results is a TrialReport's."""

    def setup(self, config: dict[str, Any]) -> None:
        self._task, self._number = config, 0

    def step(self) -> dict[str, Any]:
        desk, key = find_desk(), key_of(self._task)
        if self._number == 0:  # here, since what fails in `setup` Tune does not try again
            desk.ensure(key, self._task, first=True)
        while (said := desk.fetch(key, self._number, _PATIENCE_S)) == NOTHING:
            pass
        if "lost" in said:
            raise HostLost(said["lost"])
        self._number += 1
        return {**said["end"], "done": True} if "end" in said else {**said["report"], "done": False}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


def key_of(config: dict[str, Any]) -> str:
    """The key of a trial's work at the desk."""
    return f"trial {config['folder']}"
