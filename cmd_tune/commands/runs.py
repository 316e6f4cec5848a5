"""The commands that make runs: search, pretrain, evaluate."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cmd_tune.commands.options import Data, Name, Overrides, Preset, Protocol, Resume, Storage, TrackingUri, place
from cmd_tune.errors import UsageError
from cmd_tune.files import home_path
from cmd_tune.remote_files import looks_like_uri
from cmd_tune.runs.run_folder import DEFAULT_STORAGE


def search(
    space: Annotated[
        str | None,
        typer.Option(
            help="Space file: a path, or a name in search_spaces/. With --resume: a table's, with added cells or seeds."
        ),
    ] = None,
    data: Data = None,
    protocol: Protocol = None,
    preset: Preset = None,
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Number of trials. [default: the space's budget]")] = None,
    time: Annotated[
        str | None,
        typer.Option(help="How long trials may run, in all sessions, e.g. 1h30m. [default: the space's budget]"),
    ] = None,
    refit: Annotated[
        bool | None,
        typer.Option(help="Pretrain the finalists again, on the whole training set. [default: as the space file says]"),
    ] = None,
    confirm: Annotated[
        bool | None,
        typer.Option(
            help="Run the best trials and the start point again with fresh seeds, and rank them by the mean. "
            "[default: as the space file says]"
        ),
    ] = None,
    ablation: Annotated[
        bool | None,
        typer.Option(
            help="Run the path from the start point to the best trial, one parameter changed after the other. "
            "[default: as the space file says]"
        ),
    ] = None,
    concurrent: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once. [default: all that fit; a quarter of all trials once tpe learns]"),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Ray Train workers per trial. [default: 1]")] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0, help="GPUs per worker, e.g. 0.5. [default: 1, or a share of those there are]"),
    ] = None,
    fuse: Annotated[
        str | None,
        typer.Option(
            metavar="P|auto",
            help="Trials that each worker brings forward together, as one program; auto: as many as memory and a "
            "short measurement say. [default: 1]",
        ),
    ] = None,
    cpus: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="CPUs of this machine that all trials share, even more than it has; not with --address. "
            "[default: those that affinity, cgroups and Slurm leave]",
        ),
    ] = None,
    hung_after: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Minutes without a report after which a trial counts as hung, and is ended. "
            "[default: 60, or ten of its longest epochs]",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="An existing Ray cluster: auto, or HOST:PORT of its head. [default: this machine]"),
    ] = None,
    name: Name = None,
    storage: Storage = str(DEFAULT_STORAGE),
    tracking_uri: TrackingUri = None,
    resume: Resume = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="With --resume: run trials again that failed for their own values, too."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check space and data, show what would run, and write nothing.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="As --dry-run, and predict time, cost and memory from a few measured steps.")
    ] = False,
) -> None:
    """Search a space of settings (the same as run_search.py)."""
    from cmd_tune.runs.remote_storage import open_storage
    from cmd_tune.search.beginning import begin, make_engine
    from cmd_tune.search.execution import ResourceRequest
    from cmd_tune.search.execution.resources import read_fuse
    from cmd_tune.search.plan import resumed_plan
    from cmd_tune.search.request import SearchRequest, check_request

    if cpus and address:
        raise UsageError("--cpus: is for this machine, and the cluster at --address counts its own; leave it out")
    if retry_failed and not resume:
        raise UsageError("--retry-failed: goes with --resume, for the trials of an earlier session; leave it out")
    if (dry_run or plan) and resume:
        raise UsageError(
            f"{'--plan' if plan else '--dry-run'}: is for a new search, and --resume goes on with one; leave one out"
        )
    fused, fuse_auto = read_fuse(fuse)
    if fuse_auto and resume:
        raise UsageError(f"--fuse {fuse}: is measured for a new search, and --resume keeps its number; write a number")
    resources = ResourceRequest(concurrent, workers, gpus_per_worker, cpus, hung_after, fused)

    def request_in(folder: Path, *, dry: bool = False) -> SearchRequest:
        return check_request(
            space,
            data=place(data, "--data"),
            protocol=protocol,
            preset=preset,
            overrides=overrides or [],
            trials=trials,
            time=time,
            refit=refit,
            confirm=confirm,
            ablation=ablation,
            resources=resources,
            name=name,
            storage=folder,
            tracking_uri=tracking_uri,
            fuse_auto=fuse_auto,
            dry=dry,
        )

    if dry_run or plan:
        from cmd_tune.search.preview import show_preview

        request = request_in(DEFAULT_STORAGE if looks_like_uri(storage) else home_path(storage), dry=True)
        show_preview(request, address, Console(), probed=plan)
        return
    at, console = open_storage(storage, resume), Console()
    if at.resume:
        made = resumed_plan(
            at.resume,
            space_name=space,
            kept_options={"--protocol": protocol, "--preset": preset, "--set": overrides, "--name": name},
            storage=at.folder,
            data=place(data, "--data"),
            trials=trials,
            time=time,
            retry_failed=retry_failed,
            refit=refit,
            confirm=confirm,
            ablation=ablation,
            resources=resources,
            tracking_uri=tracking_uri,
        )
        engine = make_engine(made.folder, made.resources, address)
    else:
        made, engine = begin(request_in(at.folder), address, console)
    from cmd_tune.search.search import run_search  # while the engine starts

    with closing(engine), at.kept(made.folder, "search", new=made.new):
        run_search(made, engine, console=console)


def pretrain(
    data: Data = None,
    protocol: Protocol = None,
    preset: Preset = None,
    overrides: Overrides = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings from a YAML file, such as a search's best.yaml, whose data are then the default."),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Score the test set at the end.")] = False,
    name: Name = None,
    storage: Storage = str(DEFAULT_STORAGE),
    tracking_uri: TrackingUri = None,
    resume: Resume = None,
) -> None:
    """Run one configuration, without a search.

    Trains and records as a trial of a search does.
    """
    from cmd_tune.runs.remote_storage import open_storage
    from cmd_tune.runs.single_run import new_single, resumed_single, run_single

    at = open_storage(storage, resume)
    single = (
        resumed_single(
            at.resume,
            kept_options={
                "--protocol": protocol,
                "--preset": preset,
                "--set": overrides,
                "--config": config,
                "--name": name,
            },
            storage=at.folder,
            tracking_uri=tracking_uri,
            data=place(data, "--data"),
        )
        if at.resume
        else new_single(
            data=place(data, "--data"),
            protocol=protocol,
            preset=preset,
            overrides=overrides or [],
            config=config,
            name=name,
            storage=at.folder,
            tracking_uri=tracking_uri,
        )
    )
    with at.kept(single.folder, "pretrain", new=single.new):
        run_single(single, test=test, console=Console())


def evaluate(
    checkpoint: Annotated[
        str | None, typer.Argument(help="A checkpoint, or the folder of a run or of a trial that has one.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A store made by 'ingest'. [default: what the checkpoint was trained on]")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Protocol, e.g. xview. [default: the checkpoint's, or the data set's first]")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--with",
            metavar="TASKS",
            help="Tasks, separated by commas: knn, solved (linear probe, solved), sgd (linear probe, 80 epochs through "
            "the encoder), semi (1, 5, 10, 20 % of labels), finetune, transfer, retrieval. [default: knn,solved]",
        ),
    ] = None,
    transfer_data: Annotated[str | None, typer.Option(help="The store that 'transfer' fine-tunes on.")] = None,
    best_of_test: Annotated[
        bool,
        typer.Option(
            "--official-best-of-test",
            help="For sgd, finetune, transfer: also the best test accuracy over epochs, as public code reports it.",
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="For sgd, semi, finetune, transfer: crops, subsets, initial values. [default: 0]"),
    ] = None,
    name: Name = None,
    storage: Storage = str(DEFAULT_STORAGE),
    tracking_uri: TrackingUri = None,
    resume: Resume = None,
) -> None:
    """Score a checkpoint on a protocol's test set.

    Also scores two baselines: the untrained encoder and the raw skeletons. For every stream, their fusion, and
    concatenated features.
    """
    from cmd_tune.runs.evaluation_plan import checkpoint_here, new_evaluation, resumed_evaluation
    from cmd_tune.runs.evaluation_run import run_evaluation
    from cmd_tune.runs.remote_storage import open_storage

    at = open_storage(storage, resume)
    evaluation = (
        resumed_evaluation(
            at.resume,
            kept_options={
                "--protocol": protocol,
                "--with": tasks,
                "--official-best-of-test": best_of_test,
                "--seed": seed,
                "--name": name,
            },
            storage=at.folder,
            tracking_uri=tracking_uri,
            checkpoint=checkpoint_here(checkpoint),
            data=place(data, "--data"),
            transfer_data=place(transfer_data, "--transfer-data"),
        )
        if at.resume
        else new_evaluation(
            checkpoint_here(checkpoint),
            data=place(data, "--data"),
            protocol=protocol,
            tasks=tasks,
            transfer_data=place(transfer_data, "--transfer-data"),
            best_of_test=best_of_test,
            seed=seed or 0,
            name=name,
            storage=at.folder,
            tracking_uri=tracking_uri,
        )
    )
    with at.kept(evaluation.folder, "evaluate", new=evaluation.new):
        run_evaluation(evaluation, console=Console())
