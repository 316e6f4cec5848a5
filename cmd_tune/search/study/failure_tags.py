"""Why a trial failed, in a word: what may pass is tried again when the search is resumed."""

from enum import StrEnum


class FailureTag(StrEnum):
    """The kinds of failure. docs/running.md lists them."""

    DIVERGED = "diverged"
    VALUES = "values"  # they do not fit together, or not the data
    MEMORY = "out-of-memory"
    DISK = "disk-full"
    KILLED = "killed"
    NODE = "node-lost"
    HUNG = "hung"
    DATA = "data"
    DEFECT = "defect"

    @property
    def passing(self) -> bool:
        """Whether the trial's values are not to blame, so that another try may come to its end."""
        return self not in (FailureTag.DIVERGED, FailureTag.VALUES)


# Kinds of failure as an engine reports them: names of exceptions, and words of the engine's own.
_TAGS = {
    "": FailureTag.VALUES,
    "UsageError": FailureTag.VALUES,
    "Diverged": FailureTag.DIVERGED,
    "OutOfMemory": FailureTag.MEMORY,
    "DiskFull": FailureTag.DISK,
    "DataError": FailureTag.DATA,
    "CmdTuneError": FailureTag.DATA,
    "Died": FailureTag.KILLED,
    "its process died": FailureTag.KILLED,
    "NodeLost": FailureTag.NODE,
    "Hung": FailureTag.HUNG,
}


def failure_tag(kind: str) -> FailureTag:
    """The tag of a kind that an engine reports; a defect, if it is none that is known."""
    return _TAGS.get(kind, FailureTag.DEFECT)
