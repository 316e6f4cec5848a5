"""Northwestern-UCLA (Wang et al., CVPR 2014): one JSON file per clip, in a zip file or a folder.

Each holds `skeletons` (T, 20, 3) and `label` 1–10; the name aXX_sXX_eXX_vXX has action code, subject, repetition
and camera.
"""

import json

import numpy as np

from cmd_tune.data.clip import Clip
from cmd_tune.data.clip_names import parse_clip_name
from cmd_tune.errors import DataError

_CLASSES = 10


def parse_nw_ucla(where: str, name: str, text: bytes) -> Clip:
    """Parse one file. where: its name in messages. name: without folder and suffix. Raises DataError."""
    parsed = parse_clip_name(name)
    if parsed is None or parsed.sets != "nw-ucla":
        raise DataError(f"{where}: the name is not of the form aXX_sXX_eXX_vXX.json")
    try:
        record = json.loads(text)
        joints_TVC = np.asarray(record["skeletons"], dtype=np.float32)
        label = int(record["label"]) - 1
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{where}: not JSON with 'skeletons' and 'label' ({error!r})") from error
    if joints_TVC.ndim != 3 or joints_TVC.shape[1:] != (20, 3) or len(joints_TVC) == 0:
        raise DataError(f"{where}: skeletons of shape {joints_TVC.shape}, expected (frames, 20, 3)")
    if not 0 <= label < _CLASSES:
        raise DataError(f"{where}: label {label + 1} is not in 1–{_CLASSES}")
    return Clip(
        name=name,
        joints_TVCP=joints_TVC[..., None],
        label=label,
        subject=parsed.subject,
        camera=parsed.camera,
        where=where,
    )
