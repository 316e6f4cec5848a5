"""Identities: none is given twice, and those of earlier releases' runs are known."""

import pytest
from pydantic import TypeAdapter, ValidationError

from cmd_tune.tracking.identity import Identity, earlier_identity, is_earlier, new_identity


def test_each_run_has_its_own() -> None:
    assert len({make() for make in (new_identity, earlier_identity) for _ in range(1000)}) == 2000
    assert (is_earlier(new_identity()), is_earlier(earlier_identity())) == (False, True)


def test_a_plan_file_has_no_quotes_in_it_which_would_end_a_filter() -> None:
    identity = TypeAdapter(Identity)
    for made in (new_identity(), earlier_identity(), "mine_1"):
        assert identity.validate_python(made) == made
    for wrong in ("", "a' or 'b", "a b", "x" * 65, 3):
        with pytest.raises(ValidationError):
            identity.validate_python(wrong)
