"""How trials get onto computers: the contract of an engine, engines, resources, what runs in a trial's process.

What it is NOT: it knows tasks, engines and computers, but no study, no plan and no report; the controller connects it
with those. A new engine is a file here and a line in ENGINES; tests/search/execution/test_contract.py then runs it.
"""

from cmd_tune.search.execution.engine import WAIT, Engine, TrialEvents, TrialReport, TrialTask
from cmd_tune.search.execution.ray_engine import RayEngine
from cmd_tune.search.execution.resources import ResourcePlan, ResourceRequest, TrialResources

__all__ = [
    "ENGINES",
    "WAIT",
    "Engine",
    "ResourcePlan",
    "ResourceRequest",
    "TrialEvents",
    "TrialReport",
    "TrialResources",
    "TrialTask",
]

# Word → class. A class imports its library when it is opened, not before.
ENGINES: dict[str, type[Engine]] = {"ray": RayEngine}
