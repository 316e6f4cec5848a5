"""The help of a command's argument or option, as it is printed."""

from collections.abc import Callable

import pytest
import typer

from cmd_tune.cli import app


@pytest.fixture
def help_of() -> Callable[[str, str], str]:
    commands = typer.main.get_command(app).commands

    def help_of(command: str, name: str) -> str:
        (text,) = (
            parameter.help for parameter in commands[command].params if name in (parameter.name, *parameter.opts)
        )
        return text

    return help_of
