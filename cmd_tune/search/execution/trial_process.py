"""One Tune trial: the loop in its own process for one worker, a Ray Train run for two or more.

A trial that cannot go on says so in its last report, `failure`: diverged, out of memory, a file that cannot be read.
Of several workers, the one that cannot go on raises, which ends the others, who would wait for it. A process that dies
is started again by Tune, and by nobody else, and resumes from its checkpoint.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cmd_tune.compute.slower import heard
from cmd_tune.config import Settings
from cmd_tune.errors import CmdTuneError, Diverged, OutOfMemory, UsageError, first_line
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.environment import describe_environment, record_session
from cmd_tune.runs.failures import named_failures
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.search.execution.resources import Machine
from cmd_tune.train.distributed import world

FAILURE, RECORDS, SLOWER = "failure", "records", "slower"  # of a report, beside an epoch's metrics
KIND = "failure_kind"  # beside a failure, where it says nothing of the trial's values
MAX_RESTARTS = 2  # of a trial whose process died
PATIENCE_S = 300  # of a worker that waits for the others; what they do alone in between takes seconds
_OF_ITS_VALUES = (Diverged, OutOfMemory, UsageError)


def trial_config(index: int, folder: Path, settings: Settings, source: DataSource, machine: Machine) -> dict[str, Any]:
    """All that a trial needs to know, as plain values."""
    return {
        "trial": index,
        "folder": str(folder),
        "settings": settings.model_dump(mode="json"),
        "source": {"path": str(source.path), "protocol": source.protocol},
        "machine": asdict(machine),
    }


def run_trial(config: dict[str, Any]) -> None:
    """The function that Tune calls; `config` is made by `trial_config`."""
    from ray import tune

    if config["machine"]["workers"] == 1:
        run_worker(config, tune.report)
        return
    try:
        _run_group(config)
    except CmdTuneError as error:
        tune.report(failure_report(error))


def run_worker(config: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """The run of a trial of one process; what ends it for good is its last report."""
    try:
        _train(config, report)
    except CmdTuneError as error:
        report(failure_report(error))


def failure_report(error: CmdTuneError) -> dict[str, Any]:
    """The last report of a trial that cannot go on: why, and of which kind where its values are not to blame."""
    kind = {} if isinstance(error, _OF_ITS_VALUES) else {KIND: type(error).__name__}
    return {FAILURE: str(error), **kind}


def _train(config: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """One process's part. Raises CmdTuneError where the trial cannot go on; any other exception is a defect.

    A resumed run's history is one report: Train takes a fifth of a second for each. What falls back to something slower
    says so in the next one.
    """
    torch.set_num_threads(config["machine"]["threads"])
    source = DataSource(Path(config["source"]["path"]), config["source"]["protocol"])

    def tell(record: dict[str, Any], **more: Any) -> None:
        slower, said[:] = "; ".join(said), []
        report({**record, **more, **({SLOWER: slower} if slower else {})})

    with named_failures():
        if world()[0] == 0:
            record_session(Path(config["folder"]), describe_environment())
        with heard() as said:
            run(
                Settings(**config["settings"]),
                source,
                Path(config["folder"]),
                tell,
                recall=lambda records: tell(records[-1], **{RECORDS: records}),
            )


def _run_group(config: dict[str, Any]) -> None:
    """A Ray Train run; rank 0's reports reach Tune. Its name is the trial's own, so that a restart finds its place."""
    import ray.train
    from ray.train import ControllerError, WorkerGroupError
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    machine = Machine(**config["machine"])
    resources = {"CPU": machine.cpus} | ({"GPU": machine.gpus} if machine.gpus else {})
    trainer = TorchTrainer(
        _run_train_worker,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(
            num_workers=machine.workers, use_gpu=machine.gpus > 0, resources_per_worker=resources
        ),
        torch_config=TorchConfig(backend="nccl" if machine.gpus >= 1 else "gloo", timeout_s=PATIENCE_S),
        run_config=ray.train.RunConfig(
            name="train",
            storage_path=config["folder"],
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
        _train(config, ray.train.report)
    except (Diverged, UsageError):
        raise  # every worker's alike
    except CmdTuneError as error:
        rank = ray.train.get_context().get_world_rank()
        raise type(error)(f"worker {rank} on {socket.gethostname()}: {error}") from error
