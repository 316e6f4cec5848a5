"""The answer to a search, in words: which settings, how sure, what matters, what it cost, what to do next."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from cmd_tune.evaluate.intervals import wilson_interval
from cmd_tune.formatting import count, format_value, markdown_text, time_span
from cmd_tune.runs.run_records import EPOCHS
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.confirmation import TEST
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.health import gain_of, health_lines
from cmd_tune.search.report.importance import OVER_SEEDS, Impact, ParameterEffect
from cmd_tune.search.report.scores_in_words import about, is_accuracy, points, score_text
from cmd_tune.search.report.sections.ablation import what_carries
from cmd_tune.search.report.sections.confirmed import winner_line
from cmd_tune.search.report.trials_table import by_difference
from cmd_tune.search.study.methods import method_title
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord, TrialState

_NAMED = 6  # parameters in a sentence of the report; on the screen _ON_SCREEN
_ON_SCREEN = 3
_STEPS = 3  # things to do next


def answer(findings: StudyFindings) -> Section | None:
    """None for a comparison, whose claims are its answer."""
    if findings.comparison:
        return None
    study = findings.study
    title = markdown_text(study.space.texts.get("name") or study.folder.name)
    data = f"{findings.conditions.dataset}, {findings.conditions.protocol}, preset {study.preset}"
    method = f"method {method_title(study.space, study.budget)}, by {_judged(study)}"
    head = [f"# {title}", markdown_text(f"{data}, {_epochs(study)} a trial; {method}.")]
    head += [markdown_text(text) for key, text in study.space.texts.items() if key == "description"]
    sentences = {
        "Which settings?": which(findings, _NAMED),
        "How sure?": how_sure(findings),
        "What matters?": what_matters(findings),
        "What did it cost?": what_it_cost(findings),
        "What next?": what_next(findings),
    }
    lines = [f"**{question}** {markdown_text(text)}" for question, text in sentences.items()]
    short = [which(findings, _ON_SCREEN), f"Next: {what_next(findings, 1)}"]
    return Section("\n\n".join([*head, "## The answer", *lines]), [*map(Text, short), ""], "\n\n".join(lines))


def _epochs(study: SearchStudy) -> str:
    """Those of a trial that runs to its end: 40 epochs, or 20 to 40 epochs where they are searched."""
    numbers = {study.epochs_of(trial) for trial in study.trials.values()} or {study.base.epochs}
    fewest, most = min(numbers), max(numbers)
    return count(most, "epoch") if fewest == most else f"{fewest} to {most} epochs"


def _judged(study: SearchStudy) -> str:
    """The metrics of a search, the first of which ranks."""
    first, *others = (metric.name for metric in study.space.metrics)
    return ", ".join([f"{first} (which ranks)" if others else first, *others])


def which(findings: StudyFindings, most: int) -> str:
    """The best trial's settings, beside the start point's; at most so many, those first that differ most from it."""
    study, best, start = findings.study, findings.best, findings.study.start
    if best is None:
        return "No trial came to its last epoch."
    score = findings.best_score
    won = best.name + (f", {score_text(study.space.metric, score)}" if score is not None else "")
    rows = [best.values, *([start.values] if start else [])]
    names = by_difference(study.space.parameters, rows) if start else list(study.space.parameters)
    names = [name for name in names if any(name in row for row in rows)]
    if start and best is not start:
        names = [name for name in names if best.values.get(name) != start.values.get(name)]
    same = len({*best.values, *(start.values if start else ())} & study.space.parameters.keys()) - len(names)
    shown = names[:most]
    given = ", ".join(
        _setting(name, best.values, start.values if start and start is not best else {}) for name in shown
    )
    more = f", and {len(names) - len(shown)} more (best.yaml has all)" if len(names) > len(shown) else ""
    rest = f"; the other {same} as at the start point" if same else ""
    title = "the start point itself: " if best is start else ""
    return f"{won}: {title}{given}{more}{rest}."


def _setting(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """theirs: the start point's; empty if it is the same, or there is none."""
    mine = format_value(ours[name]) if name in ours else "not in use"
    if not theirs:
        return f"{name} {mine}"
    return f"{name} {mine} (start point {format_value(theirs[name]) if name in theirs else 'not in use'})"


def how_sure(findings: StudyFindings) -> str:
    """Over fresh seeds, or by one run of each, which is not."""
    study, found, score = findings.study, findings.confirmation, findings.best_score
    metric, noise = study.space.metric, findings.at_end.noise
    if findings.best is None:
        return "There is no result."
    if found:
        parts = [f"{winner_line(found)}{'' if found.start is None else f' Test: {TEST}.'}"]
    else:
        finished = len(study.ranked())
        flattered = f"the best of {finished} flatters itself" if finished > 1 else "there is nothing to compare it with"
        parts = [*_against_start(findings, findings.best)]
        seeds = study.space.seeds
        ran = "once, which cannot tell settings from seeds," if seeds == 1 else f"with {seeds} seeds,"
        parts.append(f"Each configuration ran {ran} and {flattered}.")
    if noise is not None:
        origin = "between seeds" if findings.at_end.noise_from == OVER_SEEDS else "between runs"
        parts.append(f"The noise {origin} is about {points(metric, noise)} (one standard deviation).")
    clips = findings.conditions.queries.get(metric.partition("/")[0], 0)
    if clips and score is not None and is_accuracy(metric):
        low, high = wilson_interval(score, clips)
        parts.append(f"Other clips would give {low:.1f} to {high:.1f} (95 %, Wilson's interval over {clips} clips).")
    return " ".join(parts)


def _against_start(findings: StudyFindings, best: TrialRecord) -> list[str]:
    start, metric = findings.study.start, findings.study.space.metric
    if start is None:
        return ["There is no start point to compare with."]
    if start is best:
        return ["No trial was better than the start point."]
    gain = gain_of(findings, best, start)
    if start.state is not TrialState.FINISHED or gain is None:
        return [f"The start point ({start.name}) did not come to its last epoch."]
    score = score_text(metric, start.score(metric) or 0.0)
    what = "single run" if findings.study.space.seeds == 1 else "score"
    return [f"Its {what} is {points(metric, gain)} better than the start point's ({start.name}, {score})."]


def what_matters(findings: StudyFindings) -> str:
    found, metric = findings.importance, findings.study.space.metric

    def named(effects: list[ParameterEffect]) -> str:
        shown = [effect.name for effect in effects[:_NAMED]]
        return ", ".join(shown) + (f" and {len(effects) - _NAMED} more" if len(effects) > _NAMED else "")

    matters, idle, open_ = (found.of(impact) for impact in (Impact.MATTERS, Impact.DOES_NOT, Impact.CANNOT_TELL))
    parts = []
    if matters:
        sizes = [
            f"{e.name} ({points(metric, e.effect or 0)} from its worst value to its best)" for e in matters[:_NAMED]
        ]
        parts.append(f"{', '.join(sizes)} {'matters' if len(matters) == 1 else 'matter'}.")
    if idle:
        parts.append(f"{named(idle)} {'does' if len(idle) == 1 else 'do'} not: any effect is below the noise.")
    if open_:
        numbers = [effect.needed for effect in open_ if effect.needed]
        tells = f"; {about(min(numbers))} could tell of some of them" if numbers else ""
        if numbers and all(effect.effect is None for effect in open_):
            tells = f"; at least {min(numbers)} are needed"
        parts.append(f"{named(open_)} cannot be told from chance by {found.basis}{tells}.")
    if (path := findings.path) and len(path.steps) > 2 and not path.missing:
        parts.append(what_carries(findings, path))
    return " ".join(parts) or "Nothing was varied."


def what_it_cost(findings: StudyFindings) -> str:
    study, cost = findings.study, findings.cost
    trials = study.trials.values()
    states = (TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED, TrialState.UNFINISHED)
    numbers = {state: sum(trial.state is state for trial in trials) for state in states}
    each = ", ".join(f"{number} {state}" for state, number in numbers.items() if number)
    epochs = int(cost.get(EPOCHS, sum(run.epoch for trial in trials for run in trial.every_run)))
    hours = [f"{cost[key]:.3g} {unit}" for key, unit in _HOURS.items() if key in cost]
    fresh = sum(len(trial.confirmations) for trial in trials)
    refits = sum(len(trial.refits) for trial in trials)
    steps = sum(bool(run.history) for trial in trials for run in trial.ablations)
    also = f", {count(fresh, 'run')} with fresh seeds" if fresh else ""
    also += f", {count(refits, 'refit')}" if refits else ""
    also += f", {count(steps, 'run')} of the ablation" if steps else ""
    spent = ", ".join([count(epochs, "epoch"), f"{time_span(study.clock.spent)} for the trials", *hours])
    return f"{count(len(trials), 'trial')}{f' ({each})' if each else ''}{also}: {spent}."


_HOURS = {"cost/cpu_hours": "CPU-hours", "cost/gpu_hours": "GPU-hours"}


def what_next(findings: StudyFindings, most: int = _STEPS) -> str:
    steps = [line.do for line in health_lines(findings) if line.do]
    if findings.best is None:
        steps = steps or ["give the trials more epochs or time"]
    elif not steps:
        steps = ["pretrain with best.yaml"]
    return " ".join(f"{step[:1].upper()}{step[1:]}." for step in steps[:most])
