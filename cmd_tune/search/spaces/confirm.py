"""The confirmation of a search: its finalists and its start point run again with fresh seeds, which then rank them."""

from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator

from cmd_tune.search.spaces.file_model import FileModel, at_least, whole

NO_CONFIRM, AUTO = "none", "auto"
FEWEST, MOST = 2, 5  # seeds of `auto`


def _seeds(value: Any) -> int | None:
    return None if value == AUTO else whole(value, FEWEST)


class Confirm(FileModel):
    """What is run again once the trials have ended.

    top: the best trials by their own score, and the start point beside them. seeds: fresh seeds of each; None: as many
    as `affordable` gives.
    """

    example: ClassVar[str] = "{top: 3, seeds: 5}, or none"

    top: Annotated[int, at_least(1)] = 3
    seeds: Annotated[int | None, PlainValidator(_seeds)] = None

    def seeds_for(self, configurations: int, runs: int) -> int:
        """Fresh seeds of each configuration; 0: none is run again.

        Unless the file says how many, half as many runs as the trials have pay for them: MOST at most, and none if that
        is fewer than FEWEST. runs: of the trials, with all their seeds, also those that were stopped early.
        """
        if self.seeds is not None:
            return self.seeds
        paid = min(MOST, runs // (2 * configurations)) if configurations > 1 else 0
        return paid if paid >= FEWEST else 0


def read_confirm(value: Any) -> Confirm | None:
    """What a file says of the confirmation; None if there is to be none. Raises ValueError for anything else."""
    return None if value == NO_CONFIRM else Confirm.model_validate(value)


def confirm_content(confirm: Confirm | None) -> Any:
    """The confirmation as plain values, in the form that `read_confirm` takes."""
    return NO_CONFIRM if confirm is None else {"top": confirm.top, "seeds": confirm.seeds or AUTO}
