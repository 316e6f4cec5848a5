"""What a space file and a plan file say of the refit."""

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.refit import Refit, read_refit, refit_content

OWN, TWO = Refit(), read_refit({"seeds": [3, 4]})


def test_what_a_file_says_of_the_refit_is_kept(make_space):
    assert make_space().refit == OWN
    assert make_space(refit="none").refit is None
    assert make_space(refit={"seeds": [3, 4]}).refit == TWO
    for refit in (OWN, TWO, None):
        assert read_refit(refit_content(refit)) == refit
    for value, said in (
        ("later", r"refit: should be a mapping \({seeds: \[0, 1, 2\]}, or none\); found 'later'"),
        ({"seed": 1}, r"refit.seed: unknown key, did you mean 'seeds'\?"),
        ({"seeds": [1, 1]}, r"refit.seeds\[1\]: 1 is listed twice; remove one"),
    ):
        with pytest.raises(UsageError, match=said):
            make_space(refit=value)
