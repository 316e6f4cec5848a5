"""What a console of a given size prints."""

from rich.console import Console, RenderableType


def lines_of(*parts: RenderableType, width: int = 80, height: int = 24) -> list[str]:
    """The printed lines, without blanks at their ends."""
    console = Console(width=width, height=height, legacy_windows=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]
