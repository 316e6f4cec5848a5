"""The refit of a search: its finalists are pretrained again, on the whole training set."""

from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator

from cmd_tune.search.spaces.comparison_file import read_seeds
from cmd_tune.search.spaces.file_model import FileModel

NO_REFIT = "none"


class Refit(FileModel):
    """How finalists are pretrained again. seeds: with each of these; none listed: with the finalist's own."""

    example: ClassVar[str] = "{seeds: [0, 1, 2]}, or none"

    seeds: Annotated[tuple[int, ...], PlainValidator(lambda seeds: read_seeds(seeds) if seeds != [] else ())] = ()


def read_refit(value: Any) -> Refit | None:
    """What a file says of the refit; None if there is to be none. Raises ValueError for anything else."""
    return None if value == NO_REFIT else Refit.model_validate(value)


def refit_content(refit: Refit | None) -> Any:
    """The refit as plain values, in the form that `read_refit` takes."""
    return NO_REFIT if refit is None else {"seeds": list(refit.seeds)}
