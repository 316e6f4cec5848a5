"""The ablation of a search: from the start point to the best trial, one parameter changed after the other, each run."""

from typing import Annotated, Any, ClassVar

from cmd_tune.search.spaces.file_model import FileModel, IfWritten, at_least

NO_ABLATION, AUTO = "none", "auto"


class Ablation(FileModel):
    """How the path from the start point to the best trial is run.

    seeds: fresh seeds of each configuration; None: those of the confirmation, and only where it tells the two apart.
    """

    example: ClassVar[str] = "{seeds: 3}, auto, or none"

    seeds: IfWritten[Annotated[int, at_least(1)]] = None

    def between(self, parameters: int, seeds: int, runs: int | None) -> int:
        """The most configurations between two that differ in so many parameters, each run with so many seeds.

        Unless the file says how many seeds, no more runs than half of those that the trials have. runs: of the trials,
        with all their seeds; None: not known.
        """
        most = max(0, parameters - 1)
        if self.seeds is not None or runs is None or not seeds:
            return most
        return min(most, runs // 2 // seeds)


def read_ablation(value: Any) -> Ablation | None:
    """What a file says of the ablation; None if there is to be none. Raises ValueError for anything else."""
    if value in (NO_ABLATION, AUTO):
        return None if value == NO_ABLATION else Ablation()
    return Ablation.model_validate(value)


def ablation_content(ablation: Ablation | None) -> Any:
    """The ablation as plain values, in the form that `read_ablation` takes."""
    if ablation is None:
        return NO_ABLATION
    return AUTO if ablation.seeds is None else {"seeds": ablation.seeds}
