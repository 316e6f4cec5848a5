"""A trial as Ray runs it: one worker is Tune's own process; two or more are a Ray Train run beneath it.

If one of several workers cannot go on, it raises, which ends the others, who would wait for it. Tune alone starts a
trial again whose process died; it then resumes from its checkpoint.
"""

import socket
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cmd_tune.errors import CmdTuneError, Diverged, UsageError, first_line
from cmd_tune.search.execution.engine import TrialTask
from cmd_tune.search.execution.trial_process import failure_report, run_task, run_worker

PATIENCE_S = 300  # of a worker that waits for the others; what they do alone in between takes seconds


def run_trial(config: dict[str, Any]) -> None:
    """Tune's trainable; `config` is a task as plain values."""
    from ray import tune

    task = TrialTask.from_plain(config)
    if task.resources.workers == 1:
        run_task(task, lambda report: tune.report(asdict(report)))
        return
    try:
        _run_group(task)
    except CmdTuneError as error:
        tune.report(asdict(failure_report(error)))


def _run_group(task: TrialTask) -> None:
    """Run a trial of several workers; rank 0's reports reach Tune.

    The run's name is the same after a restart, so that it finds its place.
    """
    import ray.train
    from ray.train import ControllerError, WorkerGroupError
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    each = task.resources
    trainer = TorchTrainer(
        _run_train_worker,
        train_loop_config=task.to_plain(),
        scaling_config=ray.train.ScalingConfig(
            num_workers=each.workers,
            use_gpu=each.gpus > 0,
            resources_per_worker={"CPU": each.cpus} | ({"GPU": each.gpus} if each.gpus else {}),
        ),
        torch_config=TorchConfig(backend="nccl" if each.gpus >= 1 else "gloo", timeout_s=PATIENCE_S),
        run_config=ray.train.RunConfig(
            name="train",
            storage_path=str(task.folder),
            callbacks=[TuneReportCallback()],
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=0),  # Tune starts again
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        raise group_failure(error.worker_failures) from error
    except ControllerError as error:
        raise RuntimeError(f"its workers could not be started: {first_line(error.controller_failure)}") from error


def group_failure(failures: Mapping[int, Exception]) -> Exception:
    """The one cause of a group's end, by rank: a worker's own words, before what the others saw of its end."""
    for _, error in sorted(failures.items()):
        if isinstance(error, CmdTuneError):
            return error
    died = {rank: error for rank, error in failures.items() if not _of_another(error)} or dict(failures)
    rank, error = min(died.items())
    return RuntimeError(f"worker {rank}: {first_line(error)}")


def _of_another(error: Exception) -> bool:
    """Whether a worker only lost its connection to one that failed."""
    return isinstance(error, RuntimeError) and "connection" in str(error).lower()


def _run_train_worker(config: dict[str, Any]) -> None:
    import ray.train

    try:
        run_worker(TrialTask.from_plain(config), lambda report: ray.train.report(asdict(report)))
    except (Diverged, UsageError):
        raise  # every worker's alike
    except CmdTuneError as error:
        rank = ray.train.get_context().get_world_rank()
        raise type(error)(f"worker {rank} on {socket.gethostname()}: {error}") from error
