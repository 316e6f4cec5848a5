"""One Tune trial: the loop in its own process for one worker, a Ray Train run for two or more.

A trial that cannot go on for a reason of its own (diverged, out of memory, settings that do not fit) says so in its
last report, `failure`; a process that dies is started again by Tune or Train and resumes from its checkpoint.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cmd_tune.config import Settings
from cmd_tune.errors import CmdTuneError
from cmd_tune.search.environment import describe_environment, record_sitting
from cmd_tune.search.machine import Machine
from cmd_tune.search.run import DataSource, run
from cmd_tune.slower import heard
from cmd_tune.train.distributed import world

FAILURE, RECORDS, SLOWER = "failure", "records", "slower"  # of a report, beside an epoch's metrics
MAX_RESTARTS = 2  # of a trial whose process died


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
    if config["machine"]["workers"] == 1:
        from ray import tune

        run_worker(config, tune.report)
    else:
        _run_group(config)


def run_worker(config: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """The run of one process of a trial; what ends it for good is its last report.

    A resumed run's history is one report: Train takes a fifth of a second for each. What falls back to something slower
    says so in the next one.
    """
    torch.set_num_threads(config["machine"]["threads"])
    source = DataSource(Path(config["source"]["path"]), config["source"]["protocol"])

    def tell(record: dict[str, Any], **more: Any) -> None:
        slower, said[:] = "; ".join(said), []
        report({**record, **more, **({SLOWER: slower} if slower else {})})

    try:
        if world()[0] == 0:
            record_sitting(Path(config["folder"]), describe_environment())
        with heard() as said:
            run(
                Settings(**config["settings"]),
                source,
                Path(config["folder"]),
                tell,
                recall=lambda records: tell(records[-1], **{RECORDS: records}),
            )
    except CmdTuneError as error:
        report({FAILURE: str(error)})
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _out_of_memory(error):
            raise
        report({FAILURE: "out of memory; lower batch_size, hidden_size or --concurrent"})


def _out_of_memory(error: RuntimeError) -> bool:
    """PyTorch has an exception for one allocator; the CPU's, CUDA's own and its libraries' say it in words."""
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def _run_group(config: dict[str, Any]) -> None:
    """A Ray Train run; rank 0's reports reach Tune. Its name is the trial's own, so that a restart finds its place."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    machine = Machine(**config["machine"])
    resources = {"CPU": machine.cpus} | ({"GPU": machine.gpus} if machine.gpus else {})
    TorchTrainer(
        _run_train_worker,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(
            num_workers=machine.workers, use_gpu=machine.gpus > 0, resources_per_worker=resources
        ),
        torch_config=TorchConfig(backend="nccl" if machine.gpus >= 1 else "gloo"),
        run_config=ray.train.RunConfig(
            name="train",
            storage_path=config["folder"],
            callbacks=[TuneReportCallback()],
            failure_config=ray.train.FailureConfig(max_failures=MAX_RESTARTS),
        ),
    ).fit()


def _run_train_worker(config: dict[str, Any]) -> None:
    import ray.train

    run_worker(config, ray.train.report)
