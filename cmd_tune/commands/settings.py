"""The command that lists the settings."""

from rich.console import Console


def settings() -> None:
    """List every setting, its value in each preset, and what it means."""
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
