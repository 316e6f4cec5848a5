"""Commands and options. No logic: each command reads its options and calls one function."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import cmd_tune
from cmd_tune.errors import CmdTuneError, Interrupted
from cmd_tune.files import DEFAULT_STORAGE

_EXAMPLES = """Examples:

\b
  # a first search on made-up actions: minutes on a laptop
  python run_search.py --space temps.yaml
\b
  # a data set into one file, and a search on it
  python -m cmd_tune ingest nw-ucla nw-ucla-all_sqe.zip --out ucla.arrow
  python run_search.py --space temps.yaml --data ucla.arrow --trials 8
\b
  # go on with a search that was interrupted
  python run_search.py --resume temps-20261122-201400
\b
  # the paper's Table 1 on your data, then with the seeds that were added to a copy of its file
  python run_search.py --space table1.yaml --data ucla.arrow --name mine
  python run_search.py --resume mine --space my_table1.yaml
\b
  # the paper's scale, two trials on each GPU
  python run_search.py --space temps.yaml --data ntu60.arrow --preset paper --gpus-per-worker 0.5
\b
  # one configuration, no search; then the best one of a search, with its test scores
  python -m cmd_tune pretrain --data ucla.arrow --set student_temperature=0.2
  python -m cmd_tune pretrain --data ucla.arrow --config runs/NAME/best.yaml --test
\b
  # score a checkpoint on the test set
  python -m cmd_tune evaluate runs/NAME --data ucla.arrow --with knn,fast,linear,semi
\b
  # every setting, its value in each preset, what it means
  python -m cmd_tune settings
"""

app = typer.Typer(
    name="cmd_tune",
    help="Tune CMD: cross-modal mutual distillation of skeleton encoders, as Ray searches recorded in MLflow.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[Path | None, typer.Option(help="A store made by 'ingest'. [default: made-up actions]")]
Protocol = Annotated[str | None, typer.Option(help="Protocol, e.g. xview. [default: the data set's first]")]
Preset = Annotated[
    str | None, typer.Option(help="Scale: quick (a laptop's CPU) or paper (the authors' numbers, for GPUs).")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
]
Storage = Annotated[Path, typer.Option(help="Folder of all runs, of made-up data and of mlflow.db.")]
TrackingUri = Annotated[str | None, typer.Option(help="MLflow server. [default: mlflow.db in the storage folder]")]
Name = Annotated[str | None, typer.Option(help="Name of the run. [default: what it is and the time]")]
Resume = Annotated[str | None, typer.Option(metavar="NAME", help="Go on with the run of this name.")]


@app.command()
def search(
    space: Annotated[
        str | None,
        typer.Option(
            help="Space file: a path, or a name in search_spaces/. With --resume: a table's, with more in it."
        ),
    ] = None,
    data: Data = None,
    protocol: Protocol = None,
    preset: Preset = None,
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all. [default: the space's budget]")] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at once. [default: what fits]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Ray Train workers of each trial. [default: 1]")] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="GPUs of each worker, e.g. 0.5. [default: 1 where there are]")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="An existing Ray cluster, e.g. auto. [default: this machine]")
    ] = None,
    name: Name = None,
    storage: Storage = DEFAULT_STORAGE,
    tracking_uri: TrackingUri = None,
    resume: Resume = None,
) -> None:
    """Search a space of settings (the same as run_search.py)."""
    from cmd_tune.search.plan import new_plan, resumed_plan
    from cmd_tune.search.tuner import run_search

    plan = (
        resumed_plan(
            resume,
            space_name=space,
            kept_options={
                "--data": data,
                "--protocol": protocol,
                "--preset": preset,
                "--set": overrides,
                "--name": name,
            },
            storage=storage,
            trials=trials,
            concurrent=concurrent,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            tracking_uri=tracking_uri,
        )
        if resume
        else new_plan(
            space,
            data=data,
            protocol=protocol,
            preset=preset,
            overrides=overrides or [],
            trials=trials,
            concurrent=concurrent,
            workers=workers or 1,
            gpus_per_worker=gpus_per_worker,
            name=name,
            storage=storage,
            tracking_uri=tracking_uri,
        )
    )
    run_search(plan, address=address, console=Console())


@app.command()
def pretrain(
    data: Data = None,
    protocol: Protocol = None,
    preset: Preset = None,
    overrides: Overrides = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings from a YAML file, such as a search's best.yaml.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Score the test set at the end.")] = False,
    name: Name = None,
    storage: Storage = DEFAULT_STORAGE,
    tracking_uri: TrackingUri = None,
    resume: Resume = None,
) -> None:
    """Run one configuration, without a search.

    The same loop as in a search, the same records.
    """
    from cmd_tune.search.single import new_single, resumed_single, run_single

    single = (
        resumed_single(
            resume,
            kept_options={
                "--data": data,
                "--protocol": protocol,
                "--preset": preset,
                "--set": overrides,
                "--config": config,
                "--name": name,
                "--tracking-uri": tracking_uri,
            },
            storage=storage,
        )
        if resume
        else new_single(
            data=data,
            protocol=protocol,
            preset=preset,
            overrides=overrides or [],
            config=config,
            name=name,
            storage=storage,
            tracking_uri=tracking_uri,
        )
    )
    run_single(single, test=test, console=Console())


@app.command()
def evaluate(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint, or the folder of a run or of a trial that has one.")
    ] = None,
    data: Data = None,
    protocol: Protocol = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--with",
            metavar="TASKS",
            help="What to ask, separated by commas: knn, fast (linear probe, solved), linear (80 epochs through the "
            "encoder), semi (1, 5, 10, 20 % of labels), finetune, transfer, retrieval. [default: knn,fast]",
        ),
    ] = None,
    transfer_data: Annotated[Path | None, typer.Option(help="The store that 'transfer' fine-tunes on.")] = None,
    best_of_test: Annotated[
        bool,
        typer.Option(
            "--official-best-of-test", help="Also show the best test accuracy over epochs, as public code reports it."
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of crops, subsets and initial values. [default: 0]")] = None,
    name: Name = None,
    storage: Storage = DEFAULT_STORAGE,
    tracking_uri: TrackingUri = None,
    resume: Resume = None,
) -> None:
    """Score a checkpoint on a protocol's test set.

    Beside it stand the untrained encoder and the raw skeletons; each stream, fused and on joined features.
    """
    from cmd_tune.search.evaluation import new_evaluation, resumed_evaluation, run_evaluation

    evaluation = (
        resumed_evaluation(
            resume,
            kept_options={
                "CHECKPOINT": checkpoint,
                "--data": data,
                "--protocol": protocol,
                "--with": tasks,
                "--transfer-data": transfer_data,
                "--official-best-of-test": best_of_test,
                "--seed": seed,
                "--name": name,
                "--tracking-uri": tracking_uri,
            },
            storage=storage,
        )
        if resume
        else new_evaluation(
            checkpoint,
            data=data,
            protocol=protocol,
            tasks=tasks,
            transfer_data=transfer_data,
            best_of_test=best_of_test,
            seed=seed or 0,
            name=name,
            storage=storage,
            tracking_uri=tracking_uri,
        )
    )
    run_evaluation(evaluation, console=Console())


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of the authors' code.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
    overrides: Overrides = None,
) -> None:
    """Read a checkpoint of the authors' code.

    What it writes is a checkpoint that 'evaluate' reads. Sizes are the checkpoint's own; the rest is the paper's.
    """
    from cmd_tune.config import parse_overrides
    from cmd_tune.search.display import shown
    from cmd_tune.train.saved import import_official

    saved = import_official(source, out, parse_overrides(overrides or []))
    sizes = ("modalities", "hidden_size", "layers", "embedding_size", "queue_size", "frames")
    print(f"{out}: epoch {saved.epoch}, " + ", ".join(f"{key} {shown(getattr(saved.settings, key))}" for key in sizes))


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a folder that has one.")],
    out: Annotated[Path, typer.Option(help="The file to write, for instance cmd.pth.tar.")],
) -> None:
    """Write a checkpoint for the authors' code.

    It can be evaluated there, not resumed: the optimiser's state stays behind.
    """
    from cmd_tune.train.saved import export_official

    print(f"{out}: encoders of {', '.join(export_official(source, out))}, in the authors' layout")


@app.command()
def ingest(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="Format of the source: ntu-60, ntu-120, pku-mmd-2, nw-ucla, npy, ctr-gcn, pyskl or generic.",
        ),
    ],
    source: Annotated[Path, typer.Argument(help="File or folder as the data set is handed out.")],
    out: Annotated[Path, typer.Option(help="The store to write.")],
    layout: Annotated[
        Path | None,
        typer.Option(
            help="Joints of a generic source: a YAML of names, parents and landmarks, or a layout by name, e.g. ntu-25."
        ),
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="Names of clips to leave out, one a line, such as NTU's official list.")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store float16: half the size, half a millimetre's rounding.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first clip that cannot be used.")] = False,
) -> None:
    """Read a data set into one file.

    Normalised and memory-mapped. After an interruption, the same command goes on where it stopped.
    """
    from cmd_tune.data.screen import ingest_on_screen

    console = Console(stderr=True)
    ingest_on_screen(
        format_name, source, out, layout=layout, exclude=exclude, half=half, strict=strict, console=console
    )


@app.command()
def inspect(
    store: Annotated[Path, typer.Argument(help="A store made by 'ingest'.")],
    out: Annotated[Path | None, typer.Option(help="A figure to write, as PNG: lengths, and clips over time.")] = None,
) -> None:
    """Show what a store holds.

    Counts, lengths, missing frames, protocols; and a figure with a few of its clips.
    """
    from cmd_tune.data.screen import inspect_on_screen

    inspect_on_screen(store, out, Console())


@app.command()
def settings() -> None:
    """List every setting, its value in each preset, and what it means."""
    from rich.table import Table

    from cmd_tune.config import PRESETS, Settings, make_settings
    from cmd_tune.search.display import shown

    presets = {name: make_settings(name) for name in PRESETS}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("setting", *presets, "meaning"):
        table.add_column(heading, overflow="fold")
    for key, field in Settings.model_fields.items():
        values = (shown(getattr(preset, key)) for preset in presets.values())
        table.add_row(key, *values, field.description or "")
    Console().print(table)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"cmd_tune {cmd_tune.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """`python -m cmd_tune`."""
    _run(app)


def run_search_main() -> None:
    """`python run_search.py`: the search command by itself."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(epilog=_EXAMPLES)(search)
    _run(alone)


def _run(commands: typer.Typer) -> None:
    """Failures a person can act on end in one line and their exit code."""
    # Threads that wait for each other by spinning take the cores from whoever they wait for: on a busy machine a step
    # of the small encoder then takes a hundred times as long. Read when torch is loaded, here and in Ray's processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        commands()
    except CmdTuneError as error:
        word = "" if isinstance(error, Interrupted) else "error: "
        print(f"{word}{' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
