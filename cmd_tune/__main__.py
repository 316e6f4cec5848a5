"""`python -m cmd_tune`."""

from cmd_tune.cli import main

main()
