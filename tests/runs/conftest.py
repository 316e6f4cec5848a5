"""Runs to evaluate: a checkpoint without a training, and one of an epoch."""

from pathlib import Path

import pytest

from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.train.checkpoint import save_checkpoint
from cmd_tune.train.loop import build_pretrainer


@pytest.fixture
def run_folder(tiny, tiny_store, tmp_path) -> Path:
    """A run's folder with a checkpoint in it."""
    settings = tiny()
    pretrainer = build_pretrainer(settings, tiny_store.width)
    folder = tmp_path / "runs" / "p"
    folder.mkdir(parents=True)
    save_checkpoint(
        folder / "checkpoint.pt",
        {
            "settings": settings.model_dump(mode="json"),
            "pretrainer": pretrainer.state_dict(),
            "history": [{"epoch": epoch} for epoch in (1, 2, 3)],
        },
    )
    return folder


@pytest.fixture
def trained(tiny, make_store, tmp_path):
    """A run's folder and the store it was trained on, under the store's second protocol."""
    store, folder = make_store(), tmp_path / "runs" / "p"
    run(tiny(epochs=1), DataSource(store.path, "xsub"), folder, lambda record: None)
    return folder, store
