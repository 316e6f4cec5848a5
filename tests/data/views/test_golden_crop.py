"""Temporal crop and resize against the authors' numbers."""

import re
from pathlib import Path

import numpy as np
import torch

from cmd_tune.data.views.crop_shear import crop_resize


def test_every_crop_of_the_reference(golden: Path) -> None:
    with np.load(golden / "crop_resize.npz") as file:
        x_CTVP = file["x"]
        cases = {name: file[name] for name in file.files if name != "x"}
    assert cases
    x_TVCP = np.ascontiguousarray(x_CTVP.transpose(1, 2, 0, 3))
    rows_FX = torch.from_numpy(x_TVCP.reshape(len(x_TVCP), -1))
    for name, theirs_CTVP in cases.items():
        start, length, frames = map(int, re.fullmatch(r"start(\d+)_length(\d+)_out(\d+)", name).groups())
        ours_BTX = crop_resize(rows_FX, torch.tensor([start]), torch.tensor([length]), frames)
        theirs_TX = theirs_CTVP.transpose(1, 2, 0, 3).reshape(frames, -1)
        np.testing.assert_allclose(ours_BTX[0].numpy(), theirs_TX, rtol=1e-4, atol=1e-5, err_msg=name)
