"""Files of each format, one reader per format: a source → clips with joints as they are in the files.

Not here: normalisation, and the store. READERS lists the formats by name; a new one is a file here and a line in it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers.bvh import open_bvh
from cmd_tune.data.readers.clip_files import open_clip_files
from cmd_tune.data.readers.ctr_gcn import open_ctr_gcn
from cmd_tune.data.readers.generic import open_generic
from cmd_tune.data.readers.kinetics_skeleton import open_kinetics_skeleton
from cmd_tune.data.readers.mediapipe import open_mediapipe
from cmd_tune.data.readers.npy_triple import open_npy
from cmd_tune.data.readers.ntu import parse_ntu
from cmd_tune.data.readers.nw_ucla import parse_nw_ucla
from cmd_tune.data.readers.nw_ucla_text import open_nw_ucla_text
from cmd_tune.data.readers.pku_mmd import PHASE_1, PHASE_2, open_pku_mmd
from cmd_tune.data.readers.pyskl import open_pyskl
from cmd_tune.data.readers.source import ReadOptions, Source

READERS: Mapping[str, Callable[[Path, ReadOptions], Source]] = {
    "ntu-60": partial(open_clip_files, "ntu-60", LAYOUTS["ntu-25"], 2, ".skeleton", partial(parse_ntu, 60)),
    "ntu-120": partial(open_clip_files, "ntu-120", LAYOUTS["ntu-25"], 2, ".skeleton", partial(parse_ntu, 120)),
    "pku-mmd-1": partial(open_pku_mmd, PHASE_1),
    "pku-mmd-2": partial(open_pku_mmd, PHASE_2),
    # Its family by validation: docs/experiments/2026-11-28-normalisation.md.
    "nw-ucla": partial(open_clip_files, "nw-ucla", LAYOUTS["kinect-20"], 1, ".json", parse_nw_ucla, default="upright"),
    "nw-ucla-text": open_nw_ucla_text,
    "npy": open_npy,
    "ctr-gcn": open_ctr_gcn,
    "pyskl": open_pyskl,
    "kinetics-skeleton": open_kinetics_skeleton,
    "mediapipe": partial(open_mediapipe, LAYOUTS["mediapipe-33"]),
    "mediapipe-world": partial(open_mediapipe, LAYOUTS["mediapipe-33-world"]),
    "bvh": open_bvh,
    "generic": open_generic,
}
