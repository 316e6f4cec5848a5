"""The state of a run in one file: weights, banks, optimiser, history. Draws have no state: the epoch is their key.

The file is PyTorch's zip archive. The archive's comment is a hash of all that comes before it, since `torch.load` does
not check the tensors that it reads.
"""

import pickle
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from cmd_tune.errors import DataError
from cmd_tune.files import atomic_file
from cmd_tune.out_of_memory import is_out_of_memory
from cmd_tune.train.checkpoint_content import check_content

FORMAT = 2
_UNHASHED = 1  # the format of earlier releases, the same but for the hash
_MARK = b"cmd_tune blake2b "
_DIGEST_BYTES = 16
_COMMENT_BYTES = len(_MARK) + 2 * _DIGEST_BYTES  # the digest is in hexadecimal digits
_CHUNK = 2**20


def save_checkpoint(path: Path, state: dict[str, Any], *, before: Path | None = None) -> None:
    """Write a checkpoint of tensors and plain containers, whole or not at all.

    before: the name that the file gets which it replaces; None: that file is removed.
    """
    save_tensors(path, {"format": FORMAT, **state}, before=before)


def save_tensors(path: Path, content: dict[str, Any], *, before: Path | None = None) -> None:
    """Write tensors and plain containers, whole or not at all. before: as for `save_checkpoint`."""
    with atomic_file(path, before=before) as temporary, temporary.open("wb") as file:
        hashed = _HashedFile(file)
        try:
            torch.save(content, cast(BinaryIO, hashed))
        except RuntimeError as error:  # PyTorch's writer raises it for whatever the file raised
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
        comment = _MARK + hashed.digest.hexdigest().encode()
        file.seek(-2, 2)  # an archive ends with the length of its comment
        file.write(len(comment).to_bytes(2, "little") + comment)


class _HashedFile:
    """A file being written, with a hash of what has been."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, blake2b(digest_size=_DIGEST_BYTES)

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a file of `save_checkpoint`, of an earlier release as well. Raises DataError for any other file."""
    state, hashed = _read(path, device)
    version = state.get("format")
    if type(version) is not int or version not in (FORMAT, _UNHASHED):
        theirs = "; the authors' are read by 'python -m cmd_tune import'" if "state_dict" in state else ""
        raise DataError(f"{path}: not a checkpoint of this release{theirs}")
    if version == FORMAT and not hashed:
        raise _damaged(path)
    check_content(path, state)
    return state


def load_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read tensors and plain containers under names. Raises DataError for anything else."""
    return _read(path, device)[0]


def _read(path: Path, device: torch.device | str) -> tuple[dict[str, Any], bool]:
    """The content of a file, and whether it has a hash, which is then right. Raises DataError."""
    try:
        with path.open("rb") as file:
            hashed = _check_hash(path, file)
            file.seek(0)
            content = torch.load(file, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint") from None
    except DataError:
        raise
    except pickle.UnpicklingError as error:  # whose text advises to run what the file asks for
        raise DataError(f"{path}: not a whole checkpoint of tensors and plain values") from error
    except Exception as error:  # a file that is no pickle can raise anything
        if is_out_of_memory(error):
            raise
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: not a whole checkpoint ({what})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a checkpoint of this release but a {type(content).__name__}")
    return content, hashed


def _check_hash(path: Path, file: BinaryIO) -> bool:
    """Whether a file has a hash. Raises DataError if that is not its content's."""
    content_bytes = max(0, file.seek(0, 2) - _COMMENT_BYTES - 2)
    file.seek(content_bytes)
    end = file.read()
    if not end.startswith(_COMMENT_BYTES.to_bytes(2, "little") + _MARK):
        return False
    digest = blake2b(digest_size=_DIGEST_BYTES)
    file.seek(0)
    while content_bytes:
        chunk = file.read(min(_CHUNK, content_bytes))
        if not chunk:
            break
        digest.update(chunk)
        content_bytes -= len(chunk)
    digest.update(bytes(2))  # it was hashed with a comment of no length
    if digest.hexdigest().encode() != end[2 + len(_MARK) :]:
        raise _damaged(path)
    return True


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: not a whole checkpoint (its content is not what was written)")
