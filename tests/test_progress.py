"""A bar on a terminal, and nothing elsewhere."""

import io

from rich.console import Console

from cmd_tune.progress import progress_bar


def drawn(**kind):
    file = io.StringIO()
    with progress_bar("reading", Console(file=file, width=80, **kind)) as tell:
        tell(0, 4)
        tell(3, 4)
    return file.getvalue()


def test_where_no_terminal_is_nothing_is_drawn():
    assert drawn().strip() == ""


def test_on_a_terminal_it_says_what_and_how_far():
    text = drawn(force_terminal=True)
    assert "reading" in text
    assert "3/4" in text
