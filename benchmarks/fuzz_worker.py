"""Takes inputs of one kind, one after another, and writes how each ended as a line of JSON.

`python -m benchmarks.fuzz_worker KIND SEED FIRST LAST TEMPLATES PLACE`
"""

import json
import os
import random
import re
import resource
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from benchmarks.fuzz_kinds import KINDS, Kind, Reached
from cmd_tune.errors import CmdTuneError

_MEMORY = 16 * 2**30  # bytes of addresses: what asks for more is refused, not the machine brought down


def ended(kind: Kind, rng: random.Random) -> str:
    """The outcome of one input."""
    try:
        kind.take(rng)
    except Reached:
        return "succeeded"
    except CmdTuneError as error:  # of a function that is called without the command around it
        for line in error.lines:
            print(f"error: {line}", file=sys.stderr)
        return "one line"
    except SystemExit as end:
        if end.code in (0, None):
            return "succeeded"
        return "one line" if end.code in (1, 2) else "other end"
    except BaseException:
        traceback.print_exc()
        return "traceback"
    return "succeeded"


def judged(outcome: str, said: str) -> str:
    """The outcome, with regard to what was said: refusals are lines that begin with "error:"; usage is typer's."""
    lines = [line for line in said.splitlines() if line.strip()]
    if "Traceback (most recent call last)" in said:
        return "traceback"
    if "errors.log" in said and re.search(r"\b[A-Z]\w+(Error|Exception)\b", said):  # of what nobody expected
        return "unnamed"
    if outcome == "one line" and not any(line.startswith(("error: ", "Error: ", "Usage: ")) for line in lines):
        return "other end"
    return outcome


def main(kind_name: str, seed: str, first: str, last: str, templates: str, place: str) -> None:
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    said = (Path(place).with_suffix(".said")).open("w+b")
    for stream in (1, 2):
        os.dup2(said.fileno(), stream)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")
    kind = KINDS[kind_name](Path(templates), Path(place))

    def write(**content: Any) -> None:
        lines.write(json.dumps(content) + "\n")
        lines.flush()

    write(started=True)
    for number in range(int(first), int(last)):
        said.seek(0)
        said.truncate()
        outcome = ended(kind, random.Random(f"{seed} {kind_name} {number}"))  # noqa: S311
        sys.stdout.flush()
        sys.stderr.flush()
        said.seek(0)
        words = said.read().decode(errors="replace")
        write(number=number, outcome=judged(outcome, words), said=words[-6000:])


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # threads of libraries have nothing left to do
