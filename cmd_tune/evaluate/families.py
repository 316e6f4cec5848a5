"""Compares normalisations on a source that has not been ingested: nearest neighbours on validation, posture, a figure.

The test set is not looked at, so that a family may be chosen by this.
N clip.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from cmd_tune.data.ingest.ingest import ingest, open_source, read_names
from cmd_tune.data.inspect.families_figure import draw_families
from cmd_tune.data.inspect.posture import Posture, posture
from cmd_tune.data.inspect.statistics import shown_missing
from cmd_tune.data.layouts import read_layout
from cmd_tune.data.normalizations import NORMALIZATIONS, families_from
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.data.splits import GalleryAndQueries, Indices, split_store
from cmd_tune.data.store import Store
from cmd_tune.errors import DataError
from cmd_tune.evaluate.scores import Scores, raw_knn_scores
from cmd_tune.files import refuse_same_file
from cmd_tune.progress import progress_bar

MODALITIES = ("joint", "motion", "bone")
MOST = 4000  # clips of a gallery, and of its queries: more would cost minutes, and tell no more


@dataclass(frozen=True)
class Compared:
    """A family on a source. scores: `val/knn/…` of raw skeletons; empty if the source has no validation split.

    refused: how many clips the family cannot normalise; they count as they were recorded.
    """

    scores: Scores
    stands: Posture
    refused: int


def compare_families(source: Store, rounds: Sequence[GalleryAndQueries]) -> Iterator[tuple[str, Compared]]:
    """Each family that can be made from a store of clips as recorded (`none`), or as their files have normalised them.

    rounds: of a validation split.
    """
    held = None if source.normalization == "none" else source.normalization
    few = [GalleryAndQueries(_at_most(r.gallery_N), _at_most(r.query_N)) for r in rounds]
    for name in families_from(held, source.layout.coordinates):
        store, refused = (source, 0) if name == source.normalization else renormalised(source, name)
        scores = raw_knn_scores(store, few, modalities=MODALITIES, prefix="val") if few else {}
        yield name, Compared(scores, posture(store), refused)


def renormalised(source: Store, family: str) -> tuple[Store, int]:
    """The store under a family, in memory, and the number of clips that it cannot normalise, which stay as they are."""
    rows_FX = source.rows_FX.clone()
    refused = 0
    for clip, (start, length) in enumerate(zip(source.start_N.tolist(), source.length_N.tolist(), strict=True)):
        x_TVCP = source.clip_joints(clip)
        try:
            x_TVCP = NORMALIZATIONS[family].function(x_TVCP, source.layout)
        except ValueError:
            refused += 1
        rows_FX[start : start + length] = torch.from_numpy(x_TVCP).flatten(1)
    return replace(source, rows_FX=rows_FX, normalization=family), refused


def _at_most(clips_N: Indices) -> Indices:
    """All clips, or MOST of them, spread evenly."""
    if len(clips_N) <= MOST:
        return clips_N
    return clips_N[np.linspace(0, len(clips_N) - 1, MOST).round().astype(int)]


def compare_on_screen(
    format_name: str,
    path: Path,
    *,
    layout: Path | None,
    exclude: Path | None,
    protocol: str | None,
    out: Path | None,
    console: Console,
) -> None:
    """Print what each family makes of a source, and draw the same clips under each. Arguments are as of `ingest`."""
    if out:
        refuse_same_file(out, path)
    options = ReadOptions(read_names(exclude) if exclude else frozenset(), read_layout(layout) if layout else None)
    source = open_source(format_name, path, options)
    default = source.normalization or source.default
    with tempfile.TemporaryDirectory() as folder:
        with progress_bar(f"reading {path.name}", console) as progress:
            held = ingest(
                format_name,
                path,
                Path(folder) / "source.arrow",
                options=options,
                normalization=source.normalization or "none",
                progress=progress,
            )
        name, rounds, why = _validation(held.store, protocol)
        compared = dict(compare_families(held.store, rounds))
        console.print(_table(compared, default))
        notes = [why or _about(name, rounds), *_counts(held.store, held.left_out, held.what)]
        notes.append(f"{default} is the default of {format_name}; 'ingest --normalise FAMILY' takes another.")
        if out:
            stands = {name: family.stands for name, family in compared.items()}
            notes.append(f"figure: {draw_families(held.store, stands, out)}")
    for note in notes:
        console.print(note, highlight=False, markup=False, emoji=False, soft_wrap=True)


def _validation(store: Store, protocol: str | None) -> tuple[str, Sequence[GalleryAndQueries], str]:
    """The protocol, its validation, and why there is none. Raises UsageError for an unknown protocol."""
    try:
        name, split = split_store(store, protocol)
    except DataError as error:
        return "", (), f"no nearest neighbours: {str(error).removeprefix(f'{store.path}: ')}"
    return name, split.validation, ""


def _table(compared: dict[str, Compared], default: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("normalisation", "1-NN joint", "1-NN fused", "lie", "on their heads", "refused"):
        table.add_column(heading, justify="left" if heading == "normalisation" else "right")
    for name, family in compared.items():
        scores = (f"{family.scores[key]:.1f}" if family.scores else "–" for key in ("val/knn/joint", "val/knn/fused"))
        shares = (f"{100 * share:.1f} %" for share in (family.stands.lie, family.stands.on_their_heads))
        table.add_row(name, *scores, *shares, str(family.refused), style="bold" if name == default else "")
    return table


def _about(protocol: str, rounds: Iterable[GalleryAndQueries]) -> str:
    queries = sum(len(_at_most(r.query_N)) for r in rounds)
    return (
        f"1-NN: percent of {queries:,} clips that {protocol} holds out of its training set, by raw skeletons; one is "
        f"{100 / queries:.2f} points. The test set is not looked at."
    )


def _counts(store: Store, left_out: Sequence[str], what: str) -> list[str]:
    notes = [f"{len(left_out)} {what} left out; the first: {left_out[0]}"] if left_out else []
    if store.missing_V is not None and any(store.missing_V):
        notes.append(f"joints filled in: {shown_missing(store.layout.joints, store.missing_V)}")
    return notes
