"""What `evaluate --with` names: each task takes an encoder with its data and returns measures on a test set.

Not here: the arithmetic of scores, which is in evaluate/, and which tasks run on which data, which runs/ decides.
`TASKS` lists the tasks by the users' words. To add one, write a `Task` in a file of its own and give it a word here.
"""

from cmd_tune.evaluate.tasks.accuracy import accuracy, query_groups
from cmd_tune.evaluate.tasks.base import EncoderUnderTest, Estimate, Measure, Progress, Task
from cmd_tune.evaluate.tasks.neighbours import KNN
from cmd_tune.evaluate.tasks.retrieval import RETRIEVAL
from cmd_tune.evaluate.tasks.semi import SEMI
from cmd_tune.evaluate.tasks.solved import SOLVED
from cmd_tune.evaluate.tasks.trained import FINETUNED, SGD, TRANSFER

__all__ = [
    "DEFAULT_TASKS",
    "OLD_NAMES",
    "TASKS",
    "EncoderUnderTest",
    "Estimate",
    "Measure",
    "Progress",
    "Task",
    "accuracy",
    "current_name",
    "query_groups",
]

TASKS: dict[str, Task] = {
    "knn": KNN,
    "solved": SOLVED,
    "sgd": SGD,
    "semi": SEMI,
    "finetune": FINETUNED,
    "transfer": TRANSFER,
    "retrieval": RETRIEVAL,
}
DEFAULT_TASKS = ("knn", "solved")
OLD_NAMES = {"fast": "solved", "linear": "sgd"}  # of tasks in 0.1.0, which commands and kept evaluations may use


def current_name(task: str) -> str:
    """A task's name in TASKS: for an old name the new one, else the name itself."""
    return OLD_NAMES.get(task, task)
