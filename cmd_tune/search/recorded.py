"""What a search and its trials show on the tracking server beside scores: notes, tags, the columns of the UI."""

from cmd_tune.formatting import shown
from cmd_tune.runs.run_records import SCORES, SECONDS, run_note
from cmd_tune.search.execution.resources import Machine
from cmd_tune.search.plan import Plan
from cmd_tune.search.study.study import Entry
from cmd_tune.tracking import Page
from cmd_tune.train.loop import CHECKPOINT

STATE = "cmd_tune.state"  # tag
_PARAMETERS = 4  # that have a column in the UI; the others are behind its button *Columns*


def search_page(plan: Plan) -> Page:
    """The trials of a search, best first; those of a table as they came."""
    space, metric = plan.space, plan.space.metric
    order = "" if space.table else metric
    metrics = (*dict.fromkeys((metric, *SCORES)), SECONDS)
    return Page(metrics, tuple(space.parameters)[:_PARAMETERS], order, not space.maximize)


def search_note(plan: Plan, machine: Machine) -> str:
    """The note of a search, in Markdown."""
    space = plan.space
    goal = "highest" if space.maximize else "lowest"
    chosen = f"Method {space.method}, {plan.trials} trials over {', '.join(space.parameters)}"
    judged = "" if space.table else f"; the best has the {goal} {space.metric}"
    what = f"{chosen}{judged}. Preset {plan.preset}, {plan.settings.epochs} epochs; {machine}."
    return run_note(what, plan.folder, "search.yaml, trials.csv, trials/", "search")


def trial_tags(entry: Entry) -> dict[str, str]:
    """The state of a trial: a server has fewer words for it."""
    return {STATE: str(entry.state)}


def trial_note(entry: Entry) -> str:
    """The note of a trial, in Markdown."""
    values = ", ".join(f"{name} {shown(value)}" for name, value in entry.values.items())
    what = f"{entry.name} of {entry.folder.parents[1].name}: {values}."
    return f"{what}\n\nFolder: `{entry.folder}` (history.jsonl, {CHECKPOINT})"
