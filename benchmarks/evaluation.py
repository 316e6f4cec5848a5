"""Scoring a checkpoint: nearest neighbours and a linear probe, against scikit-learn and epochs through the encoder."""

from dataclasses import replace

import numpy as np
import torch

from benchmarks import authors
from benchmarks.rows import Row
from benchmarks.step import CHANNELS, LAYOUT, paper_settings
from benchmarks.timing import Timing, take_turns
from benchmarks.views import FRAMES, clips_of
from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.store import Store
from cmd_tune.evaluate.classifier import LINEAR, Classifier, LabelledClips, train_classifier
from cmd_tune.evaluate.features import extract_features
from cmd_tune.evaluate.knn import knn_predictions
from cmd_tune.evaluate.linear import linear_predictions, linear_stream_predictions
from cmd_tune.train.loop import build_pretrainer

PROBE_EPOCHS = 80


def evaluation_rows(store: Store, hidden_size: int, device: torch.device, repeats: int) -> list[Row]:
    """Two thirds of the clips are the gallery, the rest queries; three streams each."""
    settings = paper_settings(hidden_size, "float32")
    encoders = build_pretrainer(settings, CHANNELS).online.to(device)
    clips_N = np.arange(len(store))
    split = len(store) * 2 // 3
    labels_N = store.label_N.astype(np.int64)
    label_N = torch.from_numpy(labels_N).to(device)

    torch.manual_seed(0)
    reference = authors.CMD(
        LAYOUT.parents,
        CHANNELS,
        hidden_size=hidden_size,
        layers=3,
        embedding_size=128,
        queue_size=1,
        topk=1,
        key_momentum=0,
    ).to(device)
    their_clips = clips_of(store, clips_N)
    probe = authors.LinearProbe(reference.encoder_q, 2 * hidden_size, store.classes)
    rng = np.random.default_rng(0)

    def features() -> torch.Tensor:
        return extract_features(encoders, store, clips_N, modalities=settings.modalities, frames=FRAMES)

    def ours_knn() -> None:
        x = features()
        knn_predictions(x[:, :split], x[:, split:], label_N[:split])

    def ours_all() -> None:
        x = features()
        knn_predictions(x[:, :split], x[:, split:], label_N[:split])
        linear_predictions(x[:, :split], x[:, split:], label_N[:split])

    joined = Classifier(encoders, store.classes, joined=True, generator=keyed_generator("benchmark")).to(device)
    labelled = LabelledClips(store, settings, clips_N[:split], clips_N[split:])

    def ours_solved() -> None:
        x = features()
        linear_stream_predictions(x[:, :split], x[:, split:], label_N[:split])

    def ours_epoch() -> None:
        train_classifier(joined, labelled, replace(LINEAR, epochs=1), key=("benchmark",))

    def their_knn() -> None:
        reference.eval()
        parts: list[list[np.ndarray]] = [[], [], []]
        with torch.no_grad():
            for start in range(0, len(their_clips), 64):
                chosen = their_clips[start : start + 64]
                x = np.stack([authors.crop_resize(c, 0, c.shape[1], FRAMES) for c in chosen])
                inputs = reference.modalities(torch.from_numpy(x).to(device))
                for encoder, of_one, part in zip(reference.queries(), inputs, parts, strict=True):
                    part.append(encoder.features(of_one).cpu().numpy())
        for part in parts:
            y = np.concatenate(part)
            authors.knn_accuracy(y[:split], y[split:], labels_N[:split], labels_N[split:])

    def their_probe_epoch() -> None:
        probe.epoch(their_clips[:split], labels_N[:split], FRAMES, rng)

    ways = {
        "ours, knn": ours_knn,
        "ours": ours_all,
        "theirs, knn": their_knn,
        "theirs, epoch": their_probe_epoch,
        "solved": ours_solved,
        "epoch": ours_epoch,
    }
    taken = take_turns(ways, repeats)
    name = f"H = {hidden_size}, {split} + {len(store) - split} clips"
    whole = [
        knn + PROBE_EPOCHS * epoch
        for knn, epoch in zip(taken["theirs, knn"].runs, taken["theirs, epoch"].runs, strict=True)
    ]
    note = f"theirs: one epoch of the joint stream's probe timed, × {PROBE_EPOCHS}; ours probes all three"
    return [
        Row(f"features and 1-NN, {name}", taken["ours, knn"], taken["theirs, knn"]),
        Row("the same and a linear probe", taken["ours"], Timing(tuple(whole)), note=note),
        Row(
            "features and a probe solved, in all streams; beside 80 epochs through the encoder",
            taken["solved"],
            taken["epoch"].scaled(PROBE_EPOCHS),
            note=f"theirs: the paper's protocol by this package, one epoch timed, × {PROBE_EPOCHS}",
        ),
    ]
