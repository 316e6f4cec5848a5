"""What a refusal says, where it must be one line."""

from collections.abc import Callable

import pytest

from cmd_tune.errors import CmdTuneError


def one_line(action: Callable[[], object]) -> str:
    with pytest.raises(CmdTuneError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)
