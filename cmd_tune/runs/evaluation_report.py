"""The results of an evaluation as a table, as JSON, as metrics and as figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.evaluate.classifier import Labelled
from cmd_tune.evaluate.similarity import CONCATENATED, FUSED, stream_names
from cmd_tune.evaluate.tally import count_hits, describe_groups
from cmd_tune.evaluate.tasks import Estimate, Measure, query_groups
from cmd_tune.figures import new_figure, save_figure

MeasuresByEncoder = dict[str, list[Measure]]  # the checkpoint first, then its baselines

_MOST_NUMBERS = 20  # classes up to which the cells of a confusion matrix have numbers


def table(by_encoder: MeasuresByEncoder, data: Labelled, protocol: str) -> RenderableType:
    """Measures by stream, the baselines below; in percent."""
    streams = stream_names(data.settings.modalities)
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("", no_wrap=True)
    for stream in streams:
        grid.add_column(stream.replace("_", "\n"), justify="right")
    for index, (who, measures) in enumerate(by_encoder.items()):
        style = "dim" if index else ""
        grid.add_row(Text(who, style="bold"), style=style)
        for measure in measures:
            grid.add_row(
                f"  {measure.title}", *(_cell(measure.estimates.get(stream)) for stream in streams), style=style
            )
    groups = query_groups(data)
    over = describe_groups(len(data.query_N), groups.count if groups.by_subject else 0)
    spread = any(e.std is not None for measures in by_encoder.values() for m in measures for e in m.estimates.values())
    notes = [
        describe_test(data, protocol),
        f"Percent; beside it 95 % intervals {over}{'; ±: standard deviation over subsets' if spread else ''}.",
        *(f"{FUSED} {title}, on the same clips: {text}." for title, text in _gains(by_encoder, data)),
        f"{FUSED}: mean of the streams' scores; {CONCATENATED}: one classifier on all features joined.",
    ]
    return Group(grid, Text("\n".join(notes), style="dim"))


def differences(by_encoder: MeasuresByEncoder, data: Labelled) -> dict[str, dict[str, dict[str, Estimate]]]:
    """By measure, baseline and stream: the checkpoint's accuracy minus the baseline's on the same clips, in points."""
    groups, label_Q = query_groups(data), data.store.label_N[data.query_N]
    (_, ours), *baselines = by_encoder.items()
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for measure in ours:
        for who, measures in baselines:
            other = next((m for m in measures if m.key == measure.key), None)
            if measure.key == "transfer" or other is None or not measure.predicted or not other.predicted:
                continue  # a transfer's clips are of another data set
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


def _gains(by_encoder: MeasuresByEncoder, data: Labelled) -> list[tuple[str, str]]:
    """(Title of a measure, differences of the fused stream from each baseline in words)."""
    titles = {measure.key: measure.title for measure in next(iter(by_encoder.values()))}
    gains = []
    for key, by_baseline in differences(by_encoder, data).items():
        fused = {who: streams[FUSED] for who, streams in by_baseline.items() if FUSED in streams}
        if fused:
            gains.append((titles[key], ", ".join(f"{_gain(e)} against the {who}" for who, e in fused.items())))
    return gains


def _gain(estimate: Estimate) -> str:
    bounds = "" if estimate.low is None else f" ({estimate.low:+.1f} to {estimate.high:+.1f})"
    return f"{estimate.value:+.1f}{bounds}"


def describe_test(data: Labelled, protocol: str) -> str:
    """The test set, its size, that of the training set, and the normalisation, without which no score is comparable."""
    classes = len(np.unique(data.store.label_N[data.train_N]))
    return (
        f"{data.store.dataset} {protocol}: {len(data.train_N)} training clips, {len(data.query_N)} test clips, "
        f"{classes} classes; normalised as {data.store.normalization}."
    )


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    if estimate.std is not None:
        return f"{estimate.value:.1f} ± {estimate.std:.1f}"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} {estimate.low:.0f}–{estimate.high:.0f}"


def results(
    by_encoder: MeasuresByEncoder, data: Labelled, other: Labelled | None, about: dict[str, Any]
) -> dict[str, Any]:
    """All results as plain values, with predicted labels beside the true ones, from which other figures can be made.

    other: the data set that is transferred to, if there is one.
    """
    scores = {
        who: {m.key: {s: _plain(e) for s, e in m.estimates.items()} for m in found} for who, found in by_encoder.items()
    }
    predicted = {m.key: m.predicted for m in next(iter(by_encoder.values())) if m.predicted and m.key != "transfer"}
    return {
        **about,
        "training_clips": len(data.train_N),
        "test_clips": len(data.query_N),
        "transfer_training_clips": len(other.train_N) if other else None,
        "transfer_test_clips": len(other.query_N) if other else None,
        "scores": scores,
        "differences": {
            key: {who: {s: _plain(e) for s, e in streams.items()} for who, streams in by_baseline.items()}
            for key, by_baseline in differences(by_encoder, data).items()
        },
        "test_labels": data.store.label_N[data.query_N].tolist(),
        "test_names": [data.store.names[index] for index in data.query_N],
        "predicted": predicted,
    }


def _plain(estimate: Estimate) -> dict[str, float]:
    values = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "std": estimate.std}
    return {name: value for name, value in values.items() if value is not None}


def metrics(by_encoder: MeasuresByEncoder) -> dict[str, float]:
    """Scores under the names that a search uses: `test/knn/joint`; the baselines' under `baseline/…`."""
    scores: dict[str, float] = {}
    for index, (who, measures) in enumerate(by_encoder.items()):
        prefix = f"baseline/{who.split()[0]}/test" if index else "test"
        for measure in measures:
            for stream, estimate in measure.estimates.items():
                if not index or stream in ("joint", "fused"):  # results.json has all
                    scores[f"{prefix}/{measure.key}/{stream}"] = estimate.value
    return scores


def draw_figures(measures: Sequence[Measure], data: Labelled, folder: Path) -> list[Path]:
    """A confusion matrix and the accuracy of each class for every measure of labels, fused; returns the files."""
    label_Q = data.store.label_N[data.query_N]
    drawn = [measure for measure in measures if measure.predicted and measure.key != "transfer"]
    return [
        _draw_confusion(measure, label_Q, folder / f"{measure.key}.png")
        for measure in drawn
        if measure.predicted and FUSED in measure.predicted
    ]


def confusion(label_Q: np.ndarray, predicted_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes that occur, (L,), and how often each (row) was predicted as each (column), (L, L)."""
    classes, codes = np.unique(np.concatenate((label_Q, predicted_Q)), return_inverse=True)
    counts_LL = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts_LL, (codes[: len(label_Q)], codes[len(label_Q) :]), 1)
    return classes, counts_LL


def _draw_confusion(measure: Measure, label_Q: np.ndarray, path: Path) -> Path:
    assert measure.predicted is not None
    classes, counts_LL = confusion(label_Q, np.asarray(measure.predicted[FUSED]))
    clips_L = counts_LL.sum(1)
    percent_LL = 100 * counts_LL / np.maximum(clips_L, 1)[:, None]
    names = [str(label) for label in classes]
    figure = new_figure(11, 6)
    figure.suptitle(f"{measure.title}, {FUSED}: {measure.estimates[FUSED].value:.1f} % of {len(label_Q)} test clips")
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
    return save_figure(figure, path)
