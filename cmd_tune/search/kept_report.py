"""The report of a kept search, written anew from its folder: of a running or interrupted one, as far as it has come."""

from rich.console import Console

from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.data_source import source_of
from cmd_tune.runs.ending import ERRORS, Ending
from cmd_tune.runs.messages import print_line
from cmd_tune.runs.pretrain_and_score import Conditions, conditions
from cmd_tune.runs.run_folder import resume_line, shown_place
from cmd_tune.search.kept_search import KeptSearch, SearchState
from cmd_tune.search.plan import KeptLayout
from cmd_tune.search.report import SearchReport, StudyFindings, kept_baselines, print_report, write_report
from cmd_tune.search.tracker_listener import cost_of


def show_report(search: KeptSearch, console: Console) -> None:
    """Write the files of a report, and print its text and where they are. Neither Ray nor a tracker is needed.

    Raises CmdTuneError if a part of it failed; the others are written.
    """
    if line := so_far(search):
        print_line(console, line)
    ending = Ending(search.folder)
    report = write_kept_report(search, console, ending)
    print_report(console, search.study, report)
    names = f" ({', '.join(report.names)})" if report.files else ""
    console.print(f"\nFolder: {shown_place(search.folder)}{names}", soft_wrap=True, highlight=False, markup=False)
    ending.show(console)
    if ending.troubles:
        raise CmdTuneError(f"{search.folder}: a part of the report failed, the rest is written; see {ERRORS} there")


def write_kept_report(search: KeptSearch, console: Console, ending: Ending) -> SearchReport:
    """Write the files of a report into the search's folder. `ending` takes each step."""
    raw, untrained = kept_baselines(search.folder) or ({}, {})
    plan, study = search.plan, search.study
    layout = KeptLayout(plan.layout, plan.per_trial) if plan.layout else None
    costs = cost_of(study.trials.values(), layout)
    findings = StudyFindings(study, raw, untrained, _conditions(search, console), costs, search.ablation)
    return write_report(findings, attempt=ending.attempt)


def so_far(search: KeptSearch) -> str:
    """What a report of a search that is not finished stands on, in one line; empty of a finished one."""
    known = f"{search.progress}; this is what is known so far"
    if search.state is SearchState.RUNNING:
        return f"search {search.name}: runs as {search.use.holder}, {known}" if search.use else ""
    if search.state is SearchState.INTERRUPTED:
        return f"search {search.name}: is interrupted, {known}; go on with: {resume_line('search', search.folder)}"
    return ""


def _conditions(search: KeptSearch, console: Console) -> Conditions:
    """The data that are measured on, for which their store is opened; without it, what the plan says of them."""
    plan = search.plan
    try:
        return conditions(source_of(plan.data, plan.protocol), search.study.base.holdout)
    except CmdTuneError as error:
        print_line(console, f"without the number of clips, since the data cannot be opened: {error}")
    return Conditions(plan.dataset, plan.protocol, {}, normalization=plan.normalization)
