"""The parameters of a search: what the best trial has, what the start point had, and whether it matters."""

from cmd_tune.formatting import format_value, markdown_table
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.importance import MOST_TRIALS, Impact, Importance, ParameterEffect
from cmd_tune.search.report.scores_in_words import about, bare_score, p_text, points

_METHOD = """\
Effect: the best tried value less the worst, other parameters being equal, by an additive regression of {basis}{terms};
in brackets its 95 % interval (Scheffé). A parameter *matters* if a partial F test says so at 5 %
after Holm's correction over all parameters. It *does not matter* if the interval ends below the noise, one standard
deviation {noise}. Otherwise the trials *cannot tell*; the number is of trials in all that would, with a
probability of 80 %, if the effect is as large as it looks. What parameters do together counts as noise
here. {left_out}"""
_LEFT_OUT = "Trials that were stopped early or failed have no score, so that effects look smaller than they are."
_EARLY = "What is best after so few epochs need not be so at the end."


def importance(findings: StudyFindings) -> Section | None:
    """None for a comparison."""
    if findings.comparison:
        return None
    study, found = findings.study, findings.importance
    start = study.start
    head = ["parameter", *([findings.best.name] if findings.best else []), *(["start point"] if start else [])]
    head += ["best fitted", "effect", "p", "verdict"]
    rows = []
    for effect in found.effects:
        row = [effect.name]
        row += [format_value(trial.values.get(effect.name, "–")) for trial in (findings.best, start) if trial]
        row.append("–" if effect.best is None else format_value(effect.best))
        rows.append([*row, _effect(effect, study.space.metric), _p(effect), _verdict(effect, found)])
    terms = (
        ", with a line and a parabola for each numeric parameter"
        if found.curved
        else ", with a line for each numeric parameter"
    )
    noise = (
        f"{found.noise_from}, {points(study.space.metric, found.noise)}" if found.noise is not None else "between seeds"
    )
    basis = "the finished trials' scores" if found.epoch is None else f"{found.basis}, since few finished"
    left_out = _LEFT_OUT if found.epoch is None else _EARLY
    about = _METHOD.format(basis=basis, terms=terms, noise=noise, left_out=left_out)
    return Section("\n\n".join(["## What matters", markdown_table(head, rows), about]))


def _effect(effect: ParameterEffect, metric: str) -> str:
    if effect.effect is None or effect.interval is None:
        return "–"
    return bare_score(metric, effect.effect, effect.interval)


def _p(effect: ParameterEffect) -> str:
    return "–" if effect.effect is None else p_text(effect.p)


def _verdict(effect: ParameterEffect, found: Importance) -> str:
    if effect.impact is not Impact.CANNOT_TELL:
        return str(effect.impact)
    if effect.needed and effect.effect is None:
        return f"{effect.impact}; at least {effect.needed} trials are needed"
    if effect.needed:
        return f"{effect.impact}; {about(effect.needed)} trials would"
    if effect.effect is None:
        return f"{effect.impact}; it did not vary by itself"
    return f"{effect.impact}; more than {MOST_TRIALS:,} trials would"
