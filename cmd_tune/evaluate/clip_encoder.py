"""Encoders by themselves, in one file: clips in, features out, for whoever has no store and no run's folder.

`python_function` models of MLflow load it by `_load_pyfunc`.
M modality, N clip, T frame, V joint, C coordinate, P body, F feature.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmd_tune.compute.device import device_here
from cmd_tune.data.layouts import layout_content, layout_from
from cmd_tune.data.store import Description, Store
from cmd_tune.errors import DataError
from cmd_tune.evaluate.features import extract_features
from cmd_tune.settings import kept_settings
from cmd_tune.train.checkpoint import load_tensors, save_tensors
from cmd_tune.train.loop import build_encoder, round_products
from cmd_tune.train.saved_checkpoint import Saved

_ONLINE = "online."
_BATCH = 64  # clips at once


class ClipEncoder:
    """The encoders of a checkpoint, with what they ask of clips."""

    def __init__(self, content: Mapping[str, Any], path: Path) -> None:
        """content: of a file of `save_clip_encoder`."""
        self.settings = kept_settings(str(path), content["settings"])
        self.described = Description(
            content["dataset"],
            layout_from(content["layout"]),
            content["bodies"],
            format="",
            normalization=content["normalization"],
        )
        state: Mapping[str, Tensor] = content["encoder"]
        channels = int(np.prod(self.described.frame_shape()))
        self.encoder = build_encoder(self.settings, channels)
        self.encoder.load_state_dict(state)
        self.encoder.to(device_here()).eval()
        round_products(self.settings)

    def predict(self, clips_NTVCP: NDArray[np.float32], params: Mapping[str, Any] | None = None) -> NDArray[np.float32]:
        """Features of clips of one length, as evaluation has them, (N, M·F): the modalities' end to end.

        clips_NTVCP: joints normalised as those of the store that the encoders were trained on, with any number of
        frames, the middle 95 % of which are resized to what the encoders see. params: none are known.
        Raises ValueError for clips of another shape.
        """
        clips_NTVCP = np.ascontiguousarray(clips_NTVCP, dtype=np.float32)
        shape = self.described.frame_shape()
        if clips_NTVCP.ndim != 5 or clips_NTVCP.shape[2:] != shape or not all(clips_NTVCP.shape[:2]):
            joints, coordinates, bodies = shape
            raise ValueError(
                f"clips of shape {clips_NTVCP.shape}; expected (clips, frames, {joints}, {coordinates}, {bodies}): "
                f"joints, coordinates and bodies of {self.described.layout.name}"
            )
        clips = len(clips_NTVCP)
        features_MNF = extract_features(
            self.encoder,
            self._store(torch.from_numpy(clips_NTVCP)),
            np.arange(clips),
            modalities=self.settings.modalities,
            frames=self.settings.frames,
            batch_size=min(_BATCH, clips),
        )
        return features_MNF.movedim(0, 1).flatten(1).float().cpu().numpy()

    def _store(self, clips_NTVCP: Tensor) -> Store:
        """The clips as a store has them, in memory."""
        clips, frames = clips_NTVCP.shape[:2]
        nothing_N = np.zeros(clips, np.int32)
        return Store(
            **vars(self.described),
            path=Path(),
            names=[""] * clips,
            label_N=nothing_N,
            subject_N=nothing_N,
            camera_N=nothing_N,
            setup_N=nothing_N,
            start_N=torch.arange(clips) * frames,
            length_N=torch.full((clips,), frames),
            rows_FX=clips_NTVCP.reshape(clips * frames, -1),
        )


def save_clip_encoder(path: Path, saved: Saved, described: Description) -> None:
    """Write the online encoders of a checkpoint, and what they ask of clips. described: of the store they are of."""
    state = {name.removeprefix(_ONLINE): x for name, x in saved.state.items() if name.startswith(_ONLINE)}
    content = {
        "settings": saved.settings.model_dump(mode="json"),
        "encoder": state,
        "dataset": described.dataset,
        "layout": layout_content(described.layout),
        "bodies": described.bodies,
        "normalization": described.normalization,
    }
    save_tensors(path, content)


def load_clip_encoder(path: Path) -> ClipEncoder:
    """Read a file of `save_clip_encoder`. Raises DataError for any other."""
    content = load_tensors(path)
    if not {"settings", "encoder", "layout", "bodies"} <= content.keys():
        raise DataError(f"{path}: holds no encoders with what they ask of clips")
    return ClipEncoder(content, path)


def _load_pyfunc(path: str) -> ClipEncoder:
    """What MLflow calls."""
    return load_clip_encoder(Path(path))
