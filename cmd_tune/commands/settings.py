"""The command that lists the settings."""

import json
from typing import Annotated

import typer
from rich.console import Console


def settings(
    space_schema: Annotated[
        bool, typer.Option("--space-schema", help="Print the JSON schema of space files instead, for editors.")
    ] = False,
) -> None:
    """List every setting, its value in each preset, and what it means."""
    if space_schema:
        print(schema_text(), end="")
        return
    from rich.table import Table

    from cmd_tune.formatting import format_value
    from cmd_tune.settings import PRESETS, Settings, make_settings

    presets = {name: make_settings(name) for name in PRESETS}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("setting", *presets, "meaning"):
        table.add_column(heading, overflow="fold")
    for key, field in Settings.model_fields.items():
        values = (format_value(getattr(preset, key)) for preset in presets.values())
        table.add_row(key, *values, field.description or "")
    Console().print(table)


def schema_text() -> str:
    """The JSON schema of space files, as it is shipped in search_spaces/."""
    from cmd_tune.search.spaces.schema import space_schema
    from cmd_tune.search.study.early_stopping import EARLY_STOPPING
    from cmd_tune.search.study.methods import METHODS

    return json.dumps(space_schema(METHODS, EARLY_STOPPING), indent=1, ensure_ascii=False) + "\n"
