"""Northwestern-UCLA (Wang et al., CVPR 2014): one JSON a clip, in a zip file or a folder.

Each holds `skeletons` (T, 20, 3) and `label` 1–10; the name aXX_sXX_eXX_vXX has action code, subject, repetition
and camera.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cmd_tune.data.store import Clip
from cmd_tune.errors import DataError

_NAME = re.compile(r"a(?P<action>\d+)_s(?P<subject>\d+)_e(?P<repetition>\d+)_v(?P<camera>\d+)$")
_CLASSES = 10


def read_nw_ucla(source: Path) -> Iterator[Clip]:
    """Clips in the order of their names; raises DataError with the name of the first file that is wrong."""
    for name, text in sorted(_files(source)):
        yield _clip(f"{source}: {name}", Path(name).stem, text)


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        yield from ((str(path.relative_to(source)), path.read_bytes()) for path in source.rglob("*.json"))
        return
    try:
        with zipfile.ZipFile(source) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist() if name.endswith(".json"))
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file or folder") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{source}: neither a folder nor a whole zip file ({error})") from error


def _clip(where: str, name: str, text: bytes) -> Clip:
    parts = _NAME.match(name)
    if parts is None:
        raise DataError(f"{where}: the name is not of the form aXX_sXX_eXX_vXX.json")
    try:
        record = json.loads(text)
        joints_TVC = np.asarray(record["skeletons"], dtype=np.float32)
        label = int(record["label"]) - 1
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{where}: not JSON with 'skeletons' and 'label' ({error!r})") from error
    if joints_TVC.ndim != 3 or joints_TVC.shape[1:] != (20, 3) or len(joints_TVC) == 0:
        raise DataError(f"{where}: skeletons of shape {joints_TVC.shape}, expected (frames, 20, 3)")
    if not np.isfinite(joints_TVC).all():
        raise DataError(f"{where}: coordinates that are not finite")
    if not 0 <= label < _CLASSES:
        raise DataError(f"{where}: label {label + 1} is not in 1–{_CLASSES}")
    return Clip(
        name=name,
        joints_TVCP=joints_TVC[..., None],
        label=label,
        subject=int(parts["subject"]),
        camera=int(parts["camera"]),
    )
