"""The effect of each parameter, with its interval and its verdict, beside the noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from cmd_tune.search.report.figures.style import FINISHED, QUIET, tidy
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.importance import Impact, Importance, ParameterEffect
from cmd_tune.search.report.scores_in_words import about, is_accuracy

_COLOURS = {Impact.MATTERS: FINISHED, Impact.CANNOT_TELL: "#a9bdd1", Impact.DOES_NOT: "#d9dde2"}


@dataclass(frozen=True)
class ImportanceFigure:
    """found: of which the effects that have a number are drawn, the largest on top."""

    metric: str
    found: Importance

    caption = "The effect of each parameter on the score"

    @property
    def drawn(self) -> Sequence[ParameterEffect]:
        return [effect for effect in self.found.effects if effect.effect is not None]

    @property
    def size(self) -> tuple[float, float]:
        return 9.0, 1.5 + 0.34 * len(self.drawn)

    @property
    def title(self) -> str:
        matters = [effect.name for effect in self.found.of(Impact.MATTERS)]
        if not matters:
            return f"No parameter can be told from chance by {self.found.basis}"
        more = f" and {len(matters) - 3} more" if len(matters) > 3 else ""
        when = "" if self.found.epoch is None else f", by {self.found.basis}"
        return f"{', '.join(matters[:3])}{more} {'matters' if len(matters) == 1 else 'matter'}{when}"

    def draw(self, figure: Figure) -> None:
        plot = figure.subplots()
        tidy(plot)
        plot.grid(axis="y", visible=False)
        noise, drawn = self.found.noise or 0.0, self.drawn
        sizes = [effect.effect or 0.0 for effect in drawn]
        widest = max(effect.interval[1] for effect in drawn if effect.interval)
        most = 1.05 * max(2.5 * noise, min(widest, 2.5 * max(sizes))) or 1.0
        plot.axvspan(0, noise, color="#f3e3c9", linewidth=0, zorder=0)
        for row, (effect, size) in enumerate(zip(drawn, sizes, strict=True)):
            plot.barh(row, size, 0.62, color=_COLOURS[effect.impact], zorder=2)
            low, high = effect.interval or (size, size)
            plot.plot([low, min(high, most)], [row] * 2, color="#30363d", linewidth=1.1, zorder=3)
            if high > most:
                plot.plot(most, row, marker=">", color="#30363d", markersize=4, clip_on=False, zorder=3)
            says = str(effect.impact)
            if effect.impact is Impact.CANNOT_TELL and effect.needed:
                says += f": {about(effect.needed)} trials would  "
            bold = "bold" if effect.impact is Impact.MATTERS else "normal"
            plot.annotate(says, (1, row), xycoords=("axes fraction", "data"), xytext=(10, 0), fontsize=8.5, weight=bold,
                          textcoords="offset points", va="center", color="#30363d")  # fmt: skip
        plot.set_yticks(range(len(drawn)), [effect.name.replace("_", " ") for effect in drawn])
        plot.set_ylim(len(drawn) - 0.4, -0.6)
        plot.set_xlim(0, most)
        unit = "points of" if is_accuracy(self.metric) else "of"
        label = f"best tried value less worst, {unit} {self.metric}, with 95 % interval; shaded: noise of one run"
        plot.set_xlabel(label, fontsize=9, color=QUIET)
        plot.set_title(self.title, fontsize=11, loc="left")


def importance_figure(findings: StudyFindings) -> ImportanceFigure | None:
    """None for a comparison, and with too few trials for any effect."""
    if findings.comparison:
        return None
    figure = ImportanceFigure(findings.study.space.metric, findings.importance)
    return figure if figure.drawn else None
