"""A host of several processes: a Ray Train run whose workers do what the desk has to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmd_tune.errors import CmdTuneError, first_line
from cmd_tune.search.execution.resources import TrialResources

if TYPE_CHECKING:
    from cmd_tune.search.execution.nodes import Needs

# Callbacks of Train that start a process each, for a second or two. There are no data of Ray to watch; places are
# taken back by `free_groups`.
_UNUSED = ("DatasetsCallback", "PlacementGroupCleanerCallback")
_PATIENCE_S = 300  # how long a worker waits for the others; what each does alone takes seconds


class NoPlaceError(RuntimeError):
    """A host's workers did not all find a place for a while."""


def serve_in_group(
    desk: Any, host: int, each: TrialResources, folder: Path, needs: Needs | None, where: Mapping[str, str]
) -> None:
    """Run a host of several workers until the desk closes. desk: the actor. folder: for Train's own files.

    needs: of the nodes, if they may differ. where: labels of the nodes that it may lie on.
    Raises what ended it: a worker's CmdTuneError if one raised that, else an exception that names the worker;
    NoPlaceError, after a while, if there is no place for all workers.
    """
    import ray.train
    from ray.train import ControllerError, WorkerGroupError
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

    class Trainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            return [each for each in super()._create_default_callbacks() if type(each).__name__ not in _UNUSED]

    trainer = Trainer(
        _serve_as_worker,
        train_loop_config={"desk": desk, "host": host, "resources": asdict(each), "needs": needs},
        scaling_config=ray.train.ScalingConfig(
            num_workers=each.workers,
            use_gpu=each.gpus > 0,
            resources_per_worker={"CPU": each.cpus} | ({"GPU": each.gpus} if each.gpus else {}),
            label_selector=dict(where) or None,
        ),
        torch_config=TorchConfig(backend="nccl" if each.gpus >= 1 else "gloo", timeout_s=_PATIENCE_S),
        run_config=ray.train.RunConfig(
            name=f"host-{host}",
            storage_path=str(folder),
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        raise group_failure(error.worker_failures) from error
    except ControllerError as error:
        if isinstance(error.controller_failure, WorkerGroupStartupTimeoutError):
            raise NoPlaceError("its workers found no place") from error
        raise RuntimeError(f"its workers could not be started: {first_line(error.controller_failure)}") from error


def _serve_as_worker(config: Mapping[str, Any]) -> None:
    from cmd_tune.search.execution.host import serve
    from cmd_tune.search.execution.ray_desk import DeskOf, this_process

    if config["needs"]:
        config["needs"].check_here()
    serve(DeskOf(config["desk"]), config["host"], TrialResources(**config["resources"]), this_process())


def free_groups(which: Callable[[str], bool]) -> None:
    """Take back the places of workers of this Ray job, by their placement groups' ids, and end what still runs there.

    Ray keeps the places of a group whose starter was killed until the job ends; Train has them taken back, but only
    those of workers that have all come up.
    """
    import ray
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    job = ray.get_runtime_context().get_job_id()  # with which the ids of its groups end
    for key, group in ray.util.placement_group_table().items():
        of_workers = any("CPU" in bundle for bundle in group["bundles"].values())  # Tune has some of its own
        if key.endswith(job) and of_workers and group["state"] != "REMOVED" and which(key):
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(key))))


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
