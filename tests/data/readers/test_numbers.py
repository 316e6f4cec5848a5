"""Numbers as text."""

import pytest

from cmd_tune.data.readers.numbers import read_numbers
from cmd_tune.errors import DataError


def test_any_blank_parts_numbers():
    assert read_numbers("here", b" 1\t-2.5e-1\r\n\n3\v4\f5 ").tolist() == [1, -0.25, 3, 4, 5]


def test_a_number_is_read_to_its_last_digit():
    assert read_numbers("here", b"0.1 1e-320 12345678901234567").tolist() == [0.1, 1e-320, 12345678901234567.0]


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"", "an empty file"), (b" \n", "an empty file"), (b"1 x 2", "not a text of"), (b'"1"', "not a text of")],
)
def test_what_is_none_is_named(text, why):
    with pytest.raises(DataError, match=f"^here: {why}"):
        read_numbers("here", text)
