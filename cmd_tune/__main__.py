"""`python -m cmd_tune`, and the programs that are installed: Ctrl-C is theirs from the first import on."""

import sys

from cmd_tune.interrupts import EXIT_CODE, catch


def main() -> None:
    """`python -m cmd_tune`."""
    _run("main")


def run_search_main() -> None:
    """`python run_search.py`."""
    _run("run_search_main")


def _run(name: str) -> None:
    try:
        catch()
        from cmd_tune import cli

        getattr(cli, name)()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_CODE)


if __name__ == "__main__":
    main()
