"""What the commands on data print."""

from pathlib import Path

from rich.console import Console

from cmd_tune.data.ingest import ingest, read_names
from cmd_tune.data.layouts import read_layout
from cmd_tune.data.readers.source import Wanted
from cmd_tune.data.splits import describe_counts, protocols
from cmd_tune.data.store import Precision, Store
from cmd_tune.progress import progress_bar

PADDED = 300  # frames to which the field's .npy files pad every clip


def ingest_on_screen(
    format_name: str,
    source: Path,
    out: Path,
    *,
    layout: Path | None,
    exclude: Path | None,
    half: bool,
    strict: bool,
    console: Console,
) -> None:
    """The store in a few lines; on the console what was left out, each in a line."""
    wanted = Wanted(read_names(exclude) if exclude else frozenset(), read_layout(layout) if layout else None)
    dtype: Precision = "float16" if half else "float32"
    with progress_bar(f"reading {source.name}", console) as progress:
        done = ingest(
            format_name,
            source,
            out,
            wanted=wanted,
            strict=strict,
            dtype=dtype,
            progress=progress,
            tell=lambda line: console.print(line, highlight=False, soft_wrap=True),
        )
    for line in describe(done.store, out):
        print(line)
    for line in done.left_out:
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if done.left_out:
        count = len(done.left_out)
        what = done.what.removesuffix("s") if count == 1 else done.what
        console.print(f"{count} {what} left out, named above", style="yellow", highlight=False)


def describe(store: Store, path: Path) -> list[str]:
    """What the store holds, its size beside that of the padded array, and its protocols with their counts."""
    V, C, P = store.frame_shape()
    counts = [describe_counts(store, protocol) for protocol in protocols(store)]
    padded = len(store) * PADDED * V * C * P * 4
    return [
        f"{path}: {len(store)} clips, {store.classes} classes, {int(store.length_N.min())}–"
        f"{int(store.length_N.max())} frames, {store.layout.name}, normalised as {store.normalization}",
        f"{_bytes(store.path.stat().st_size)}; as an array padded to {PADDED} frames: {_bytes(padded)}",
        *(counts or ["no protocol: the source gives no split, and the data set's name tells none"]),
    ]


def _bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
