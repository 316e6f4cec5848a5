"""The banks: oldest out first, whatever the sizes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmd_tune.model.memory_bank import MemoryBanks


def keys(numbers, modalities=2, dim=3):
    """Recognisable keys: modality a's sample n is a·1000 + n in every trial."""
    of_one = torch.tensor(numbers, dtype=torch.float32)[None, :, None]
    return (1000.0 * torch.arange(modalities)[:, None, None] + of_one).expand(-1, -1, dim).contiguous()


def contents(banks):
    return banks.keys_MKD[..., 0].tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(size=st.integers(1, 9), batches=st.lists(st.integers(1, 20), max_size=6))
def test_any_sizes(size, batches):
    """Against a list written to one key at a time."""
    banks = MemoryBanks(2, size, 3)
    expected, pointer, number = contents(banks), 0, 0
    for batch in batches:
        numbers = list(range(number, number + batch))
        banks.enqueue(keys(numbers))
        for n in numbers:
            for modality in range(2):
                expected[modality][pointer] = 1000.0 * modality + n
            pointer = (pointer + 1) % size
        number += batch
        assert contents(banks) == expected
        assert banks.pointer.item() == pointer


def test_a_batch_that_does_not_divide_the_bank_wraps_whole():
    banks = MemoryBanks(1, 5, 3)
    banks.enqueue(keys([1, 2, 3], modalities=1))
    banks.enqueue(keys([4, 5, 6], modalities=1))
    assert contents(banks) == [[6, 2, 3, 4, 5]]
    assert banks.pointer.item() == 1


def test_a_batch_larger_than_the_bank_leaves_its_last_keys():
    banks = MemoryBanks(1, 3, 3)
    banks.enqueue(keys([1, 2, 3, 4, 5, 6, 7], modalities=1))
    assert sorted(contents(banks)[0]) == [5, 6, 7]
    banks.enqueue(keys([8], modalities=1))
    assert sorted(contents(banks)[0]) == [6, 7, 8]


def test_rows_of_all_banks_are_of_one_sample():
    banks = MemoryBanks(3, 7, 2)
    for start in range(0, 40, 4):
        banks.enqueue(keys(range(start, start + 4), modalities=3, dim=2))
        rows = torch.tensor(contents(banks))
        written = min(7, start + 4)
        fresh = rows[:, :written] if start < 7 else rows
        assert (fresh - 1000.0 * torch.arange(3)[:, None] == fresh[0]).all()


def test_random_unit_keys_to_start_with():
    banks = MemoryBanks(2, 500, 16, torch.Generator().manual_seed(0))
    torch.testing.assert_close(banks.keys_MKD.norm(dim=2), torch.ones(2, 500))
    assert banks.keys_MKD.mean((0, 1)).abs().max() < 5 / (1000 * 16) ** 0.5
    again = MemoryBanks(2, 500, 16, torch.Generator().manual_seed(0))
    assert torch.equal(banks.keys_MKD, again.keys_MKD)


def test_banks_and_pointer_are_state_and_not_parameters():
    banks = MemoryBanks(2, 4, 3)
    assert set(banks.state_dict()) == {"keys_MKD", "pointer"}
    assert not list(banks.parameters())


def test_what_was_written_is_not_tied_to_the_graph_or_the_source():
    banks = MemoryBanks(1, 4, 3)
    source = keys([1, 2], modalities=1).requires_grad_()
    banks.enqueue(source)
    assert not banks.keys_MKD.requires_grad
    with torch.no_grad():
        source += 5
    assert contents(banks)[0][:2] == [1, 2]
