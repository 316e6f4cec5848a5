"""Prints stores: the output of the commands `ingest` and `inspect`."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cmd_tune.data.ingest.ingest import ingest, read_names
from cmd_tune.data.inspect.figure import draw_store
from cmd_tune.data.inspect.posture import Posture, posture
from cmd_tune.data.inspect.statistics import (
    QUANTILES,
    counted,
    lengths,
    presence,
    protocol_counts,
    shown_counts,
    shown_missing,
)
from cmd_tune.data.layouts import read_layout
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.data.splits import describe_counts, protocols
from cmd_tune.data.store import Precision, Store, open_store
from cmd_tune.errors import UsageError, printable
from cmd_tune.files import refuse_same_file
from cmd_tune.progress import progress_bar

PADDED = 300  # frames to which the field's .npy files pad every clip


def ingest_on_screen(
    format_name: str,
    source: Path,
    out: Path,
    *,
    layout: Path | None,
    exclude: Path | None,
    normalization: str | None,
    half: bool,
    strict: bool,
    console: Console,
) -> None:
    """Ingest; print a summary of the store, and one line per file or clip that was left out."""
    refuse_same_file(out, source)
    options = ReadOptions(read_names(exclude) if exclude else frozenset(), read_layout(layout) if layout else None)
    dtype: Precision = "float16" if half else "float32"
    with progress_bar(f"reading {source.name}", console) as progress:
        done = ingest(
            format_name,
            source,
            out,
            options=options,
            normalization=normalization,
            strict=strict,
            dtype=dtype,
            progress=progress,
            tell=lambda line: console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True),
        )
    for line in describe(done.store, out):
        print(line)
    if done.normalized:
        console.print(done.normalized, highlight=False, markup=False, soft_wrap=True)
    for line in done.left_out:
        console.print(printable(line), style="yellow", highlight=False, markup=False, soft_wrap=True)
    if done.left_out:
        count = len(done.left_out)
        what = done.what.removesuffix("s") if count == 1 else done.what
        console.print(f"{count} {what} left out, named above", style="yellow", highlight=False)


def describe(store: Store, path: Path) -> list[str]:
    """A summary of a store: its content, its size compared with a padded array, its protocols with their counts."""
    counts = [describe_counts(store, protocol) for protocol in protocols(store)]
    return [
        f"{path}: {len(store)} clips, {store.classes} classes, {int(store.length_N.min())}–"
        f"{int(store.length_N.max())} frames, {store.layout.name}, normalised as {store.normalization}",
        f"{_bytes(store.path.stat().st_size)}; as an array padded to {PADDED} frames: {_padded(store)}",
        *(counts or ["no protocol: the source gives no split, and the data set's name tells none"]),
    ]


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def inspect_on_screen(
    path: Path, out: Path | None, console: Console, *, of_sources: Mapping[str, object] | None = None
) -> None:
    """Print the tables of a store, and draw its figure.

    of_sources: options that a store does not take → what was typed for them. Raises UsageError for one that was typed.
    """
    if typed := [option for option, value in (of_sources or {}).items() if value is not None]:
        raise UsageError(f"{typed[0]}: applies to a source, with --format; leave it out")
    if out:
        refuse_same_file(out, path)
    store = open_store(path)
    stands = posture(store)
    for table in (_whole(store, path, stands), _counts(store), _frames(store), _protocols(store)):
        console.print(table)
        console.print()
    if out:
        figure = draw_store(store, out, stands)
        console.print(f"figure: {figure}", highlight=False, markup=False, emoji=False, soft_wrap=True)


def _whole(store: Store, path: Path, stands: Posture) -> Table:
    V, C, P = store.frame_shape()
    table = _table("store", path.name)
    table.add_row("data set", f"{store.dataset}, read as {store.format}")
    table.add_row("clips", f"{len(store):,} of {store.classes} classes, {len(store.rows_FX):,} frames")
    table.add_row("layout", f"{store.layout.name}: {V} joints in {C}-D, {P} {'body' if P == 1 else 'bodies'}")
    table.add_row("normalisation", store.normalization)
    table.add_row("posture", stands.describe())
    if store.missing_V is not None:
        table.add_row("joints filled in", shown_missing(store.layout.joints, store.missing_V))
    coordinates = str(store.rows_FX.dtype).removeprefix("torch.")
    table.add_row("size", f"{_bytes(path.stat().st_size)} in {coordinates}; padded to {PADDED} frames {_padded(store)}")
    return table


def _counts(store: Store) -> Table:
    table = _table("clips by", "", "fewest", "most", "each")
    for key in ("label", "subject", "camera", "setup"):
        counts = counted(getattr(store, f"{key}_N"))
        name = "class" if key == "label" else key
        if list(counts) == [0] and key != "label":
            table.add_row(name, "unknown", "", "", "")
        else:
            fewest, most = min(counts.values()), max(counts.values())
            table.add_row(name, f"{len(counts)}", f"{fewest:,}", f"{most:,}", shown_counts(counts))
    return table


def _frames(store: Store) -> Table:
    found = presence(store)
    table = _table("frames", *(QUANTILES))
    table.add_row("of a clip", *(f"{length}" for length in lengths(store).values()))
    bodies = found.has_NP.sum(1)
    for count in range(1, store.bodies + 1):
        with_body = int((bodies == count).sum())
        table.add_row(f"clips with {count} {'body' if count == 1 else 'bodies'}", f"{with_body:,}")
    affected, missing = int((found.missing_NP > 0).any(1).sum()), int(found.missing_NP.sum())
    table.add_row("clips missing a body", f"{affected:,}")
    table.add_row("frames missing one", f"{missing:,}")
    if found.broken:
        table.add_row("frames not finite", f"{found.broken:,}", style="bold red")
    return table


def _protocols(store: Store) -> Table:
    table = _table("protocol", "training", "test", "pretraining", "validation", "")
    for name, counts in protocol_counts(store).items():
        numbers = (counts.train, counts.test, counts.pretrain, counts.validation)
        table.add_row(name, *("–" if number is None else f"{number:,}" for number in numbers), counts.note)
    if not table.row_count:
        table.add_row("none", "", "", "", "", "the source gives no split, and the data set's name tells none")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in (first, *others):
        table.add_column(heading, overflow="fold")
    return table


def _padded(store: Store) -> str:
    V, C, P = store.frame_shape()
    return _bytes(len(store) * PADDED * V * C * P * 4)
