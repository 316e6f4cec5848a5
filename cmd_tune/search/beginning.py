"""The beginning of a search: its engine starts while its data are made and its plan is written."""

from pathlib import Path

from rich.console import Console

from cmd_tune.runs.run_folder import removed_on_failure
from cmd_tune.search.execution import ENGINES, Engine, ResourceRequest
from cmd_tune.search.plan import Plan, new_plan
from cmd_tune.search.request import SearchRequest, given_count
from cmd_tune.settings import AUTO


def make_engine(folder: Path, request: ResourceRequest, address: str | None) -> Engine:
    """The engine of a search. Raises CmdTuneError if nobody answers at the address, UsageError as of a plan."""
    return ENGINES["ray"](folder, request, address)


def begin(request: SearchRequest, address: str | None, console: Console) -> tuple[Plan, Engine]:
    """Open the engine of a new search, and write down its plan. Of an error nothing is left.

    What is to be measured is known before the engine starts its hosts: the precision, how many trials are fused.
    """
    with removed_on_failure(request.folder):
        if request.settings.precision == AUTO:
            from cmd_tune.search.measured_precision import with_precision  # it loads what trains, as the next one does

            request, said = with_precision(request, address, lambda: request.open_data()[1].width)
            console.print(said, highlight=False, soft_wrap=True, markup=False)
        if request.fuse_auto:
            from cmd_tune.search.fusing import with_fuse

            request, said = with_fuse(request, address, lambda: request.open_data()[0])
            console.print(said, highlight=False, soft_wrap=True, markup=False)
        engine = make_engine(request.folder, request.resources, address)
        try:
            engine.open(trials=request.trials, given=given_count(request.space, request.trials))
            plan = new_plan(request)
            if plan.space.warm_start:
                from cmd_tune.search.warm_start import keep_warm_start  # it loads the study

                keep_warm_start(plan)
            return plan, engine
        except BaseException:
            engine.close()
            raise
