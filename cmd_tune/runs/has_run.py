"""Whether a storage has a run already: launch files ask, by `python -m cmd_tune.runs.has_run STORAGE NAME`."""

import sys

from cmd_tune.compute.home import ensure_home
from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.remote_storage import open_storage


def main() -> None:
    """Print yes or no. What keeps the storage from being looked at is a line, with its exit code."""
    storage, name = sys.argv[1:]
    try:
        ensure_home()
        print("yes" if open_storage(storage).has(name) else "no")
    except CmdTuneError as error:
        for line in error.lines:
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
