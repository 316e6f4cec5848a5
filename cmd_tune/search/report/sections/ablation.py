"""Where the best trial's gain over the start point comes from: one parameter changed after the other, each step run."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.formatting import count, markdown_table, markdown_text
from cmd_tune.search.report.ablation import TEST, AblationPath, Step, StepChange, changes_in_words
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.scores_in_words import bare_score, difference_text, p_text

_TITLE, _START = "## Ablation", "start point"
_HEAD = ("step", "changed", "mean", "less the step before", "p")
_ON_SCREEN = 2  # parameters of a step that have their values there
_LEGEND = """\
{metric}, means over {seeds}. Each configuration is run; a step is paired over seeds. Intervals of 95 %, Student's t; \
p: {test}. What matters most by the trials changes first; in another order, parameters that work together would share \
the gain in another way."""


def ablation(findings: StudyFindings) -> Section | None:
    """None for a comparison, without a best trial, and if no ablation was asked for."""
    if findings.ablation is None or findings.best is None:
        return None
    path = findings.path
    if path is None:
        return Section(f"{_TITLE}\n\n{findings.no_path}")
    if len(path.steps) == 2:
        return Section(f"{_TITLE}\n\n{markdown_text(_one_step(findings, path))}")
    metric = findings.study.space.metric
    said = [line for line in (what_carries(findings, path), *_remarks(findings, path)) if line]
    rows = [_row(metric, number, path) for number in range(len(path.steps))]
    legend = _LEGEND.format(metric=metric, seeds=count(len(path.seeds), "fresh seed"), test=TEST)
    markdown = [_TITLE, *map(markdown_text, said), markdown_table(_HEAD, rows), legend]
    screen: list[RenderableType] = [Text(said[0], style="bold"), _table(metric, path)]
    screen += [Text(line, style="dim") for line in said[1:]]
    return Section("\n\n".join(markdown), screen)


def what_carries(findings: StudyFindings, path: AblationPath) -> str:
    """The step that carries most of the gain, and which steps the seeds tell from zero."""
    metric, sign = findings.study.space.metric, 1 if findings.study.space.maximize else -1
    first, last = path.steps[0].mean, path.steps[-1].mean
    steps = [(step, step.change) for step in path.steps if step.change]
    if first is None or last is None or not steps:
        return f"The path from {path.start.name} to {path.best.name} has not run yet."
    text = f"From the start point to {path.best.name}, {metric} goes from {bare_score(metric, first)} to "
    text += f"{bare_score(metric, last)} over {count(len(path.seeds), 'fresh seed')}. "
    if sign * (last - first) <= 0:
        return f"{text}By these seeds there is no gain."
    if len(steps) < len(path.steps) - 1 or path.missing:
        return f"{text}Which step carries it is not known, since not all have all their scores."
    top, change = max(steps, key=lambda pair: sign * pair[1].mean)
    text += f"The step of {_names(top)} carries the largest part of it, {_change(metric, change)}. "
    if len(path.seeds) == 1:
        return f"{text}One seed tells no step from zero."
    clear = [(step, change) for step, change in steps if change.is_clear]
    gains = [_names(step) for step, change in clear if sign * change.mean > 0]
    losses = [f"{_names(step)} ({_change(metric, change)})" for step, change in clear if sign * change.mean < 0]
    text += f"The seeds tell the gain of {_listed(gains)} from zero." if gains else "The seeds tell no gain from zero."
    return f"{text} There is a loss with {_listed(losses)}: the values before may be better." if losses else text


def _one_step(findings: StudyFindings, path: AblationPath) -> str:
    last, changes = path.steps[1], changes_in_words(path, 1)
    ends = f"{path.best.name} and the start point differ in {_listed(changes)}"
    if len(changes) == 1:
        whole = "the whole difference between the two is that parameter's, and nothing lies between them"
        change = f": {_change(findings.study.space.metric, last.change)}" if last.change else ""
        return f"{ends} alone; {whole}{change}."
    if path.limited:
        return f"{ends}. Half the work of the trials does not pay for a path; write ablation: {{seeds: 3}} to have it."
    return f"{ends}. They change together, since {_forbidding(findings)}: nothing tells their parts."


def _forbidding(findings: StudyFindings) -> str:
    """Why parameters change together, as far as the space tells."""
    space = findings.study.space
    causes = {"conditions": space.conditions.conditional, "constraints": space.constraints, "settings": True}
    *others, last = (name for name, given in causes.items() if given)
    return f"{', '.join(others)}{' or ' if others else ''}{last} allow none of them alone"


def _remarks(findings: StudyFindings, path: AblationPath) -> list[str]:
    """What is not as in a plain path: parameters that go together, runs that failed or are yet to come."""
    lines = []
    for step in path.steps[1:]:
        if len(step.changed) > 1:
            rest = path.limited and step is path.steps[-1]
            why = "half the work of the trials pays for no more runs" if rest else _forbidding(findings)
            lines.append(f"{_names(step)} change together, since {why}.")
    lines += [
        f"The step of {_names(step)} failed with seed {', '.join(map(str, step.failed))}, which its mean leaves out."
        for step in path.steps
        if step.failed
    ]
    if path.missing:
        lines.append(f"{count(path.missing, 'run')} of it {'is' if path.missing == 1 else 'are'} yet to come.")
    return lines


def _row(metric: str, number: int, path: AblationPath) -> list[str]:
    step, change = path.steps[number], path.steps[number].change
    less = _change(metric, change) if change else ""
    p = "" if change is None or change.interval is None else p_text(change.p)
    return [str(number), ", ".join(changes_in_words(path, number)) or _START, _mean(metric, step), less, p]


def _table(metric: str, path: AblationPath) -> Table:
    """As the report has it, in as few columns as a narrow screen takes."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("step")
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    for number, step in enumerate(path.steps):
        changes = changes_in_words(path, number)
        name = ", ".join(changes) if len(changes) <= _ON_SCREEN else f"{len(changes)} parameters together"
        table.add_row(name or _START, _mean(metric, step), _change(metric, step.change) if step.change else "")
    return table


def _mean(metric: str, step: Step) -> str:
    return bare_score(metric, step.mean, step.interval)


def _change(metric: str, change: StepChange) -> str:
    return difference_text(metric, change.mean, change.interval)


def _names(step: Step) -> str:
    return _listed(step.changed) if step.changed else "the start point"


def _listed(parts: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
