"""Draws by key: a key's stream is its own, the same in every process and every release."""

from itertools import combinations

import pytest
import torch

from cmd_tune.compute.random_keys import keyed_generator


def draws(*key):
    return torch.randint(2**62, (4,), generator=keyed_generator(*key)).tolist()


def test_a_stream_depends_on_its_key_alone():
    """Not on what was drawn before, by this key, by another or by PyTorch's own generator."""
    first = draws(0, "views", 3, 5)
    torch.manual_seed(7)
    draws(0, "views", 3, 6)
    assert draws(0, "views", 3, 5) == first


def test_keys_that_differ_in_any_part_have_other_streams():
    keys = [(0, "views", 3, 5), (1, "views", 3, 5), (0, "order", 3, 5), (0, "views", 5, 3), (0, "views", 35), (0,), ()]
    assert all(draws(*a) != draws(*b) for a, b in combinations(keys, 2))


@pytest.mark.parametrize(
    ("key", "seed"),
    [((0, "views", 1, 0), 0x612E7271E5D11D41), ((12, "initial values"), 0x20FD76BDDE6E4B8B)],
)
def test_streams_are_those_of_earlier_releases(key, seed):
    """Else a run that is resumed with another release would draw other views."""
    assert keyed_generator(*key).initial_seed() == seed
