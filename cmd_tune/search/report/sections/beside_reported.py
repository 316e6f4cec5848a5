"""The best trial of a search beside the accuracies that others report, where the space file has some."""

from dataclasses import replace

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.evaluate.tally import read_tally
from cmd_tune.formatting import count, markdown_table, markdown_text, percent, signed
from cmd_tune.runs.pretrain_and_score import TEST_TALLY
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.left_out import left_out, left_out_lines
from cmd_tune.search.report.verdicts import t_interval
from cmd_tune.search.study.trial_record import RepeatRecord, TrialRecord


def beside_reported(findings: StudyFindings) -> Section | None:
    """None for a comparison, whose cells have reported accuracies of their own, and where the space has none."""
    space, best = findings.study.space, findings.best
    if not space.reported:
        return None
    ours = findings.conditions
    if best and _tested(best):
        ours = replace(ours, pretrained=ours.training)
    why = left_out(space.reported_on, space.reported, ours)
    shown = [metric for metric in space.reported if metric not in why]
    lines = left_out_lines(space.reported_on, why, all_left_out=not shown)
    parts = ["## Beside reported accuracies"]
    if best and shown:
        rows = [[metric, *_row(best, metric, space.reported[metric])] for metric in shown]
        parts.append(markdown_table(["", "reported", best.name, "difference"], rows))
        lines.append(_legend(best))
    return Section("\n\n".join([*parts, *map(markdown_text, lines)]))


def _tested(best: TrialRecord) -> list[RepeatRecord]:
    """Its refits that have test scores; none if its own checkpoint was scored."""
    return [refit for refit in best.refits.values() if refit.test_scores]


def _row(best: TrialRecord, metric: str, theirs: float) -> list[str]:
    score = best.tests.get(metric)
    if score is None:
        return [percent(theirs), percent(None), ""]
    interval = _interval(best, metric)
    less = (interval[0] - theirs, interval[1] - theirs) if interval else None
    return [percent(theirs), percent(score, interval), signed(score - theirs, less)]


def _interval(best: TrialRecord, metric: str) -> Interval | None:
    """Over the seeds of its refits, of two or more; else over clips, if its right answers were counted."""
    refits = _tested(best)
    if len(refits) > 1:
        return t_interval([refit.test_scores[metric] for refit in refits])
    tally = read_tally((refits[0] if refits else best).folder / TEST_TALLY)
    return tally.interval(metric) if tally and metric in tally.right else None


def _legend(best: TrialRecord) -> str:
    refits = _tested(best)
    what = f"the mean over {count(len(refits), 'refit')} on the whole training set" if refits else "its own checkpoint"
    over = "seeds" if len(refits) > 1 else "clips"
    return f"Ours: {what}, with 95 % intervals over {over}; what other seeds would change in theirs is not known."
