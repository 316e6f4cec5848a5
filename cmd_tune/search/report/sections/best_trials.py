"""The best trials of a search beside the baselines, with as many parameters as the screen has room for."""

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.formatting import markdown_table, markdown_text
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import RAW, UNTRAINED, StudyFindings
from cmd_tune.search.report.scores_in_words import bare_score
from cmd_tune.search.report.trials_table import FittedTable, by_difference, setting_text
from cmd_tune.search.study.study import FINALISTS, SearchStudy
from cmd_tune.search.study.trial_record import BEFORE_REFIT, TrialRecord

BEST = 5  # trials shown
_WIDEST = 8  # parameters in the table of report.md
_COLUMNS = (
    "val/knn/joint", "val/knn/fused", "val/linear/fused", "test/knn/joint", "test/knn/fused", "test/linear/fused",
)  # fmt: skip
_SPARE = ("val/linear/fused", "test/linear/fused", "val/knn/joint", "test/knn/joint")  # the last ones go first
_LEGEND = "Percent right. untrained: the encoder as it starts; raw 1-NN: bare skeletons."
_FLATTERED = "The score that chose the best trial flatters it; its test scores do not."
_REFIT = " Test scores are of the finalists pretrained again on the whole training set; in brackets, before that."


def best_trials(findings: StudyFindings) -> Section | None:
    """The best trials; lines say what is odd about the test scores. The report also names those that have no rank.

    None for a comparison, which selects nothing.
    """
    if findings.comparison:
        return None
    refit = any(BEFORE_REFIT + name in trial.tests for trial in findings.study.trials.values() for name in _COLUMNS)
    notes = [*_tests(findings.study), _LEGEND + (_REFIT if refit else "")]
    screen: list[RenderableType] = [_table(findings), *(Text(note, style="dim") for note in notes)]
    notes = [*_stopped_early(findings.study), *notes, _FLATTERED]
    return Section("\n\n".join(["## The best trials", _markdown(findings), *map(markdown_text, notes)]), screen)


def _markdown(findings: StudyFindings) -> str:
    """The table for report.md: with the scores that some row has."""
    study = findings.study
    best = study.ranked()[:BEST]
    rows = [(UNTRAINED, findings.untrained.get), (RAW, findings.raw.get)]
    names = by_difference(study.space.parameters, [trial.values for trial in best])[:_WIDEST]
    columns = dict.fromkeys((study.space.metric, *_COLUMNS))
    scored = [name for name in columns if any(trial.score(name) is not None for trial in best)]
    shown = scored or [study.space.metric]
    lines = [
        [trial.name, *(setting_text(trial.values, name) for name in names), *(_score(trial, name) for name in shown)]
        for trial in best
    ]
    lines += [[title, *[""] * len(names), *(bare_score(name, score(name)) for name in shown)] for title, score in rows]
    table = markdown_table(["", *names, *shown], lines)
    hidden = len(study.space.parameters) - len(names)
    return table + (f"\n\nShown are the parameters that differ most; trials.csv has {hidden} more." if hidden else "")


def _table(findings: StudyFindings) -> FittedTable:
    """In percent. Only finalists have test scores."""
    study = findings.study
    metric, parameters = study.space.metric, study.space.parameters
    columns = [*([] if metric in _COLUMNS else [metric]), *_COLUMNS]
    best = study.ranked()[:BEST]

    spare = [name for name in _SPARE if name != metric]

    def build(headings: Mapping[str, str], kept: Sequence[str]) -> Table:
        names = [name for name in parameters if name in headings]
        shown = [name for name in columns if name not in spare or name in kept]
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("", no_wrap=True)
        for heading in (*(headings[name] for name in names), *(name.replace("/", "\n") for name in shown)):
            table.add_column(heading, justify="right", no_wrap=True)
        for trial in best:
            values = (setting_text(trial.values, name) for name in names)
            table.add_row(trial.name, *values, *(_score(trial, name) for name in shown))
        for title, scores in ((UNTRAINED, findings.untrained), (RAW, findings.raw)):
            blank = [""] * len(names)
            table.add_row(title, *blank, *(bare_score(name, scores.get(name)) for name in shown), style="dim")
        return table

    more = "Shown are the parameters that differ most; the report has {} more."
    return FittedTable(by_difference(parameters, [trial.values for trial in best]), build, more, spare)


def _score(trial: TrialRecord, name: str) -> str:
    """A score; with that before the refit, if there was one, in brackets."""
    before = trial.tests.get(BEFORE_REFIT + name)
    return bare_score(name, trial.score(name)) + (f" ({bare_score(name, before)})" if before is not None else "")


def _tests(study: SearchStudy) -> list[str]:
    """Lines for finalists that could not be tested, and for trials that were finalists of a shorter search."""
    finalists = study.finalists(FINALISTS)
    gone = [trial.name for trial in finalists if not trial.test_scores and not trial.testable]
    former = [trial.name for trial in study.ranked() if trial.tests and trial not in finalists]
    lines = [f"Not scored on the test set, since its checkpoint is gone: {', '.join(gone)}."] if gone else []
    if former:
        lines.append(f"No longer among the best, though its test scores have been looked at: {', '.join(former)}.")
    return lines


def _stopped_early(study: SearchStudy) -> list[str]:
    """A line for the trials that were stopped early: after which epoch, and their score then."""
    stopped = study.stopped()
    if not stopped:
        return []
    metric = study.space.metric
    first = [f"{t.name} {t.reason} ({bare_score(metric, t.score(metric))})" for t in stopped[:BEST]]
    more = f" and {len(stopped) - BEST} more" if len(stopped) > BEST else ""
    return [f"Stopped early, without a rank ({metric} then): {'; '.join(first)}{more}."]
