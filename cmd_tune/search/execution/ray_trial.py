"""Runs a trial in Ray: a single worker in Tune's own process, several as a Ray Train run below it.

If one of several workers cannot go on, it raises, which ends the others too: they would wait for it. Only Tune restarts
a trial whose process died; the trial then resumes from its checkpoint.
"""

import socket
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cmd_tune.errors import CmdTuneError, Diverged, UsageError, first_line
from cmd_tune.search.execution.engine import TrialTask
from cmd_tune.search.execution.trial_process import failure_report, run_task, run_worker

PATIENCE_S = 300  # how long a worker waits for the others; what each does alone takes seconds


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

    The run has the same name after a restart, so that Train goes on in the same folder.
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
    """Find the cause among the exceptions of a group's workers, by rank: a named failure, else no lost connection."""
    for _, error in sorted(failures.items()):
        if isinstance(error, CmdTuneError):
            return error
    died = {rank: error for rank, error in failures.items() if not _of_another(error)} or dict(failures)
    rank, error = min(died.items())
    return RuntimeError(f"worker {rank}: {first_line(error)}")


def _of_another(error: Exception) -> bool:
    """Whether a worker failed only because it lost the connection to another."""
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
