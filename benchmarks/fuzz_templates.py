"""What is mutated: a finished search, a pretrained run, an evaluation and a store, made by the commands themselves.

`python -m benchmarks.fuzz_templates FOLDER`
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.store import write_store

ROOT = Path(__file__).resolve().parents[1]
STORE, STORAGE, OFFICIAL = "tiny.arrow", "runs", "official.pth.tar"
SEARCH, RUN, EVALUATION = "search", "single", "scores"
SIZES = {
    "hidden_size": 4, "embedding_size": 4, "layers": 1, "frames": 8, "queue_size": 16, "topk": 4, "crop_min_frames": 4,
    "epochs": 2, "batch_size": 8, "precision": "float32", "evaluate_every": 1,
}  # fmt: skip
TINY = [word for key, value in SIZES.items() for word in ("--set", f"{key}={value}")]
SPACE = """method: random
metric: {name: val/knn/fused, goal: maximize}
parameters:
  teacher_temperature: {distribution: log_uniform_values, min: 0.01, max: 0.2}
budget: {trials: 2}
refit: none
"""


def write_tiny(path: Path) -> None:
    """A store of 54 clips: three actions of six subjects before three cameras."""
    rng = np.random.default_rng(0)
    rest_VC, swing_LVC = rng.normal(size=(20, 3)), rng.normal(size=(3, 20, 3))
    clips = []
    for subject in range(1, 7):
        for label in range(3):
            for camera in (1, 2, 3):
                phase_T = (label + 1) * np.linspace(0, 6, 8 + subject + 3 * label)
                x_TVC = rest_VC + np.sin(phase_T)[:, None, None] * swing_LVC[label] + 0.02 * camera
                name = f"s{subject}_a{label}_c{camera}"
                clips.append(Clip(name, x_TVC[..., None].astype(np.float32), label, subject, camera))
    write_store(path, clips, dataset="synthetic", layout=LAYOUTS["kinect-20"], normalization="2s-agcn")


def make(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_tiny(folder / STORE)
    (folder / "space.yaml").write_text(SPACE, encoding="utf-8")
    data = ["--data", STORE]
    for words in (
        ["search", "--space", "space.yaml", "--name", SEARCH, *data, *TINY],
        ["pretrain", "--name", RUN, *data, *TINY],
        ["evaluate", f"{STORAGE}/{RUN}", "--name", EVALUATION],
        ["export", f"{STORAGE}/{RUN}", "--out", OFFICIAL],
    ):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "cmd_tune", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{' '.join(words[:1])} failed:\n{done.stdout.decode(errors='replace')}")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
