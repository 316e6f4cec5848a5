"""The report of an evaluation: its scores on the screen, as JSON, as metrics and as figures.

Its functions return values; `draw_figures` alone writes. Not here: computing scores (evaluate/tasks/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.evaluate.classifier import LabelledClips
from cmd_tune.evaluate.intervals import Interval
from cmd_tune.evaluate.similarity import CONCATENATED, FUSED, stream_names
from cmd_tune.evaluate.tally import count_hits, describe_groups
from cmd_tune.evaluate.tasks import Estimate, Measure, query_groups
from cmd_tune.figures import save_drawing
from cmd_tune.formatting import percent, signed

# The checkpoint first, then its baselines. What a measure predicts is of this data's test clips.
MeasuresByEncoder = dict[str, list[Measure]]

_MOST_NUMBERS = 20  # classes up to which the cells of a confusion matrix have numbers


def on_screen(measures_by: MeasuresByEncoder, data: LabelledClips, protocol: str) -> RenderableType:
    """A table of the measures by stream, in percent, with the baselines below and notes on the test set."""
    streams = stream_names(data.settings.modalities)
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("", no_wrap=True)
    for stream in streams:
        grid.add_column(stream.replace("_", "\n"), justify="right")
    for index, (encoder, measures) in enumerate(measures_by.items()):
        style = "dim" if index else ""
        grid.add_row(Text(encoder, style="bold"), style=style)
        for measure in measures:
            grid.add_row(
                f"  {measure.title}", *(_cell(measure.estimates.get(stream)) for stream in streams), style=style
            )
    groups = query_groups(data)
    over = describe_groups(len(data.query_N), groups.count if groups.by_subject else 0)
    spread = any(e.std is not None for measures in measures_by.values() for m in measures for e in m.estimates.values())
    notes = [
        describe_test(data, protocol),
        f"Percent; beside it 95 % intervals {over}{'; ±: standard deviation over subsets' if spread else ''}.",
        *(f"{FUSED} {title}, on the same clips: {text}." for title, text in _gains(measures_by, data)),
        f"{FUSED}: mean of the streams' scores; {CONCATENATED}: one classifier on all features joined.",
    ]
    return Group(grid, Text("\n".join(notes), style="dim"))


def differences(measures_by: MeasuresByEncoder, data: LabelledClips) -> dict[str, dict[str, dict[str, Estimate]]]:
    """By measure, baseline and stream: the checkpoint's accuracy less the baseline's on the same clips, in points."""
    groups, label_Q = query_groups(data), data.store.label_N[data.query_N]
    (_, ours), *baselines = measures_by.items()
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for measure in ours:
        for who, measures in baselines:
            other = next((m for m in measures if m.key == measure.key), None)
            if other is None or not measure.predicted or not other.predicted:
                continue
            a, b = (
                count_hits(groups, {stream: np.asarray(p) == label_Q for stream, p in m.predicted.items()})
                for m in (measure, other)
                if m.predicted
            )
            found.setdefault(measure.key, {})[who] = {
                stream: Estimate(a.percent(stream) - b.percent(stream), *(a.above(b, stream) or ()))
                for stream in a.right
                if stream in b.right
            }
    return found


def _gains(measures_by: MeasuresByEncoder, data: LabelledClips) -> list[tuple[str, str]]:
    """The gain of the fused stream over each baseline, in words, by the title of the measure."""
    titles = {measure.key: measure.title for measure in next(iter(measures_by.values()))}
    gains = []
    for key, by_baseline in differences(measures_by, data).items():
        fused = {who: streams[FUSED] for who, streams in by_baseline.items() if FUSED in streams}
        if fused:
            gains.append(
                (titles[key], ", ".join(f"{signed(e.value, _bounds(e))} against the {who}" for who, e in fused.items()))
            )
    return gains


def describe_test(data: LabelledClips, protocol: str) -> str:
    """The test set, its size, the training set of the probes, and the normalisation, in one line."""
    classes = len(np.unique(data.store.label_N[data.train_N]))
    return (
        f"{data.store.dataset} {protocol}: {len(data.train_N)} training clips, {len(data.query_N)} test clips, "
        f"{classes} classes; normalised as {data.store.normalization}."
    )


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return percent(None)
    if estimate.std is not None:
        return f"{estimate.value:.1f} ± {estimate.std:.1f}"
    bounds = _bounds(estimate)
    return percent(estimate.value) + (f" {bounds[0]:.0f}–{bounds[1]:.0f}" if bounds else "")


def _bounds(estimate: Estimate) -> Interval | None:
    return None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)


def results(
    measures_by: MeasuresByEncoder, data: LabelledClips, other: LabelledClips | None, about: dict[str, Any]
) -> dict[str, Any]:
    """The content of results.json: all scores, and the predicted labels beside the true ones, for other figures.

    other: the data set of tasks on other data, if there is one. about: entries that come first.
    """
    scores = {
        who: {m.key: {s: _plain(e) for s, e in m.estimates.items()} for m in found}
        for who, found in measures_by.items()
    }
    predicted = {m.key: m.predicted for m in next(iter(measures_by.values())) if m.predicted}
    return {
        **about,
        "training_clips": len(data.train_N),
        "test_clips": len(data.query_N),
        "transfer_training_clips": len(other.train_N) if other else None,
        "transfer_test_clips": len(other.query_N) if other else None,
        "scores": scores,
        "differences": {
            key: {who: {s: _plain(e) for s, e in streams.items()} for who, streams in by_baseline.items()}
            for key, by_baseline in differences(measures_by, data).items()
        },
        "test_labels": data.store.label_N[data.query_N].tolist(),
        "test_names": [data.store.names[index] for index in data.query_N],
        "predicted": predicted,
    }


def _plain(estimate: Estimate) -> dict[str, float]:
    values = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "std": estimate.std}
    return {name: value for name, value in values.items() if value is not None}


def metrics(measures_by: MeasuresByEncoder) -> dict[str, float]:
    """The metrics of the run, with the names of a search's: `test/knn/joint`; of the baselines, `baseline/…`."""
    scores: dict[str, float] = {}
    for index, (encoder, measures) in enumerate(measures_by.items()):
        prefix = f"baseline/{encoder.split()[0]}/test" if index else "test"
        for measure in measures:
            for stream, estimate in measure.estimates.items():
                if not index or stream in ("joint", "fused"):  # results.json has all
                    scores[f"{prefix}/{measure.key}/{stream}"] = estimate.value
    return scores


@dataclass(frozen=True)
class ConfusionFigure:
    """The confusion matrix of one measure, and the accuracy of each class. label_Q, predicted_Q: of the test clips."""

    title: str
    accuracy: float
    label_Q: NDArray[np.int32]
    predicted_Q: NDArray[np.int64]

    size = (11.0, 6.0)

    @property
    def caption(self) -> str:
        return f"{self.title}, {FUSED}: {self.accuracy:.1f} % of {len(self.label_Q)} test clips"

    def draw(self, figure: Figure) -> None:
        classes, counts_LL = confusion(self.label_Q, self.predicted_Q)
        clips_L = counts_LL.sum(1)
        percent_LL = 100 * counts_LL / np.maximum(clips_L, 1)[:, None]
        names = [str(label) for label in classes]
        figure.suptitle(self.caption)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))

        image = left.imshow(percent_LL, cmap="Blues", vmin=0, vmax=100)
        left.set(xlabel="predicted class", ylabel="class", title="confusion, % of a class's clips")
        figure.colorbar(image, ax=left, shrink=0.8)
        if len(classes) <= _MOST_NUMBERS:
            left.set_xticks(range(len(classes)), names)
            left.set_yticks(range(len(classes)), names)
            for row, column in np.argwhere(percent_LL >= 0.5):
                value = percent_LL[row, column]
                colour = "white" if value > 50 else "black"
                left.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)

        seen = np.flatnonzero(clips_L)
        order = seen[np.argsort(percent_LL[seen, seen])]
        right.barh(range(len(order)), percent_LL[order, order], color="tab:blue")
        size = 8 if len(order) <= 30 else 4
        right.set_yticks(range(len(order)), [f"{names[i]} ({clips_L[i]})" for i in order], fontsize=size)
        right.set(xlabel="% right", xlim=(0, 100), ylim=(-0.6, len(order) - 0.4), title="by class (its test clips)")


def figures(measures: Sequence[Measure], data: LabelledClips) -> dict[str, ConfusionFigure]:
    """The figures of every measure that predicts labels, for the fused stream; by the names of their PNG files."""
    label_Q = data.store.label_N[data.query_N]
    return {
        measure.key: ConfusionFigure(
            measure.title, measure.estimates[FUSED].value, label_Q, np.asarray(measure.predicted[FUSED])
        )
        for measure in measures
        if measure.predicted and FUSED in measure.predicted
    }


def draw_figures(measures: Sequence[Measure], data: LabelledClips, folder: Path) -> list[Path]:
    """Write the figures into the folder; returns the files."""
    return [save_drawing(figure, folder / f"{name}.png") for name, figure in figures(measures, data).items()]


def confusion(label_Q: np.ndarray, predicted_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes that occur, and the number of clips of each class (row) that were taken for each class (column)."""
    classes, codes = np.unique(np.concatenate((label_Q, predicted_Q)), return_inverse=True)
    counts_LL = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts_LL, (codes[: len(label_Q)], codes[len(label_Q) :]), 1)
    return classes, counts_LL
