"""Files of a run's state: what is written is what is read, whole or not at all, and what is none is named."""

import resource
from hashlib import blake2b
from itertools import product
from zipfile import ZipFile

import pytest
import torch

from cmd_tune.errors import CmdTuneError, DataError
from cmd_tune.train.checkpoint import FORMAT, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from cmd_tune.train.loop import CHECKPOINT

STATE = {"banks": torch.arange(100_000.0), "history": [{"epoch": 1, "loss/total": 0.1 + 0.2}], "settings": {"topk": 4}}


@pytest.fixture
def stopped(tmp_path):
    """A folder with a whole checkpoint."""
    save_checkpoint(tmp_path / CHECKPOINT, STATE)
    return tmp_path


def broken(path):
    with pytest.raises(DataError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tensors_and_plain_values_come_back_to_the_bit(tmp_path):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(3, 4, generator=generator)
    state = {
        "weights": {
            "half": numbers.bfloat16(),
            "transposed": numbers.T,
            "pointer": torch.tensor(7),
            "none": numbers[:0],
        },
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1 / 3, "params": [0, 1]}]},
        "history": [{"epoch": 1, "loss/total": 0.1 + 0.2}],
    }
    save_checkpoint(tmp_path / CHECKPOINT, state)
    found = load_checkpoint(tmp_path / CHECKPOINT)
    assert found.pop("format") == FORMAT
    for name, x in state.pop("weights").items():
        assert found["weights"][name].dtype == x.dtype, name
        assert torch.equal(found["weights"][name], x), name
    del found["weights"]
    assert found == state


def test_a_file_is_replaced_whole(stopped):
    save_checkpoint(stopped / CHECKPOINT, {"banks": torch.zeros(2)})
    assert load_checkpoint(stopped / CHECKPOINT)["banks"].tolist() == [0, 0]
    assert [path.name for path in stopped.iterdir()] == [CHECKPOINT]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95, 0.999])
def test_a_truncated_file_is_named(stopped, share):
    path = stopped / CHECKPOINT
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "not a whole checkpoint" in broken(path)


@pytest.fixture
def small(tmp_path):
    """A checkpoint of some 2 kB."""
    save_checkpoint(tmp_path / CHECKPOINT, {"weights": torch.arange(64.0), "history": [{"epoch": 1}]})
    return tmp_path / CHECKPOINT


def test_the_comment_is_a_hash_of_all_before_it(small):
    """The archive as `torch.save` wrote it, which ends with the length of its comment, none."""
    content = small.read_bytes()
    with ZipFile(small) as archive:
        assert archive.testzip() is None
        word, name, digest = archive.comment.decode().split()
    end = len(content) - len(f"{word} {name} {digest}") - 2
    assert (word, name) == ("cmd_tune", "blake2b")
    assert digest == blake2b(content[:end] + bytes(2), digest_size=16).hexdigest()
    assert torch.load(small, weights_only=True)["weights"][63] == 63  # without this package


def test_a_bit_that_flips_anywhere_is_noticed(small):
    content = small.read_bytes()
    for place in range(len(content)):
        small.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        assert "not a whole checkpoint" in broken(small), place


def test_one_byte_too_few_or_too_many_is_noticed(small):
    content = small.read_bytes()
    for missing in range(1, 100):
        small.write_bytes(content[:-missing])
        assert "not a whole checkpoint" in broken(small), missing
    small.write_bytes(content + b"\0")
    assert "not a whole checkpoint" in broken(small)


def test_a_file_of_an_earlier_release_has_no_hash_and_is_read(tmp_path):
    torch.save({"format": 1, "banks": torch.ones(3)}, tmp_path / CHECKPOINT)
    assert load_checkpoint(tmp_path / CHECKPOINT)["banks"].tolist() == [1, 1, 1]
    torch.save({"format": 2, "banks": torch.ones(3)}, tmp_path / CHECKPOINT)  # which a hash was lost of
    assert broken(tmp_path / CHECKPOINT).endswith("not a whole checkpoint (its content is not what was written)")


def test_what_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / CHECKPOINT
    assert "no such checkpoint" in broken(path)
    for text in ("epoch: 3\n", "PK\x03\x04", "{}", *("".join(triple) for triple in product("]}.K0(", repeat=3))):
        path.write_text(text)
        assert "not a whole checkpoint" in broken(path)
    for other in ([1, 2], {"format": 0}, {"state_dict": {}}):
        torch.save(other, path)
        assert "not a checkpoint of this release" in broken(path)


def test_another_format_and_the_authors_files_are_told_apart(tmp_path):
    path = tmp_path / CHECKPOINT
    for other, said in (
        ({"format": FORMAT + 1, **STATE}, ""),
        (STATE, ""),
        ({"state_dict": {}}, "; the authors' are read by 'python -m cmd_tune import'"),
    ):
        save_tensors(path, other)
        assert load_tensors(path).keys() == other.keys()  # tensors they are all the same
        assert broken(path) == f"{path}: not a checkpoint of this release{said}"
    torch.save((1, 2), path)
    assert broken(path) == f"{path}: not a checkpoint of this release but a tuple"


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    """A checkpoint may come from somebody else."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"format": 1, "trap": Trap()}, tmp_path / CHECKPOINT)
    assert broken(tmp_path / CHECKPOINT).endswith("not a whole checkpoint of tensors and plain values")
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_is_named_and_the_checkpoint_before_it_stays(stopped):
    """The limit on file size stands in for the disk's."""
    before = (stopped / CHECKPOINT).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(CmdTuneError, match="cannot be written") as caught:
            save_checkpoint(stopped / CHECKPOINT, {"banks": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert [trial.name for trial in stopped.iterdir()] == [CHECKPOINT]
    assert (stopped / CHECKPOINT).read_bytes() == before
