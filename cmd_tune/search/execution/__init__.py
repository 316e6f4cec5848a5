"""How trials get onto computers: the contract of an engine, engines, resources, what runs in a trial's process.

Not here: the study, the plan, the report, with which the controller connects it. It knows tasks, engines and
computers. A new engine is a file here and a line in ENGINES; tests/search/execution/test_contract.py then runs it.
"""

from cmd_tune.search.execution.engine import (
    DIED,
    HUNG,
    NODE_LOST,
    WAIT,
    Engine,
    TrialEvents,
    TrialReport,
    TrialTask,
)
from cmd_tune.search.execution.ray_engine import RayEngine
from cmd_tune.search.execution.resources import ResourcePlan, ResourceRequest, TrialResources

__all__ = [
    "DIED",
    "ENGINES",
    "HUNG",
    "NODE_LOST",
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
