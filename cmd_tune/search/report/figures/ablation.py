"""The path from the start point to the best trial: a point with its interval for each configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from cmd_tune.search.report.ablation import AblationPath, changes_in_words
from cmd_tune.search.report.figures.style import BEST, FINISHED, QUIET, START, score_label, tidy
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.scores_in_words import difference_text

_NAMED = 3  # parameters of a step


@dataclass(frozen=True)
class AblationFigure:
    """path: with a score at both ends and between them; a configuration without any has no point."""

    metric: str
    path: AblationPath

    caption = "From the start point to the best trial, one parameter changed after the other"

    @property
    def size(self) -> tuple[float, float]:
        lines = sum(label.count("\n") + 1 for label in self.labels)
        return 9.0, 1.5 + 0.24 * lines + 0.16 * len(self.labels)

    @property
    def labels(self) -> Sequence[str]:
        """The steps, from the start point on."""
        found = [f"start point ({self.path.start.name})"]
        for number in range(1, len(self.path.steps)):
            changes = [change.replace("_", " ") for change in changes_in_words(self.path, number)]
            more = [f"and {len(changes) - _NAMED} more"] if len(changes) > _NAMED else []
            found.append("\n".join(changes[:_NAMED] + more))
        return found

    @property
    def means(self) -> Mapping[int, float]:
        """By row, of the steps that have a score."""
        return {row: step.mean for row, step in enumerate(self.path.steps) if step.mean is not None}

    def draw(self, figure: Figure) -> None:
        plot = figure.subplots()
        tidy(plot)
        plot.grid(axis="y", visible=False)
        plot.plot(list(self.means.values()), list(self.means), color="#c4cad1", linewidth=1.4, zorder=1)
        last = len(self.path.steps) - 1
        for row, mean in self.means.items():
            interval = self.path.steps[row].interval
            colour = START if row == 0 else BEST if row == last else FINISHED
            if interval:
                plot.plot(interval, [row] * 2, color=colour, linewidth=1.6, zorder=2, solid_capstyle="butt")
            plot.scatter(mean, row, s=52, color=colour, edgecolors="white", zorder=3)
        for row, step in enumerate(self.path.steps):
            if step.change is None:
                continue
            text = difference_text(self.metric, step.change.mean, step.change.interval)
            bold = "bold" if step.change.is_clear else "normal"
            plot.annotate(text, (1, row), xycoords=("axes fraction", "data"), xytext=(10, 0), fontsize=8.5, weight=bold,
                          textcoords="offset points", va="center", color="#30363d")  # fmt: skip
        plot.set_yticks(range(len(self.labels)), self.labels)
        plot.set_ylim(last + 0.5, -0.5)
        label = f"{score_label(self.metric)}, mean over seeds with 95 % interval; right: less the step before"
        plot.set_xlabel(label, fontsize=9, color=QUIET)
        plot.set_title("What each step to the best trial changes; bold: told from zero", fontsize=11, loc="left")


def ablation_figure(findings: StudyFindings) -> AblationFigure | None:
    """None without a path that has something between its ends, and before two of its configurations have run."""
    path = findings.path
    if path is None or len(path.steps) < 3:
        return None
    figure = AblationFigure(findings.study.space.metric, path)
    return figure if len(figure.means) > 1 else None
