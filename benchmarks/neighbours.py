"""Nearest neighbours at NTU-60's size, beside the bare product that they cannot do without."""

import torch
from torch import Tensor

from benchmarks.processes import child
from benchmarks.rows import Row
from benchmarks.timing import Timing, take_turns
from cmd_tune.evaluate.knn import knn_predictions, vote_predictions
from cmd_tune.evaluate.tasks.neighbours import KNN_KS

GALLERY, QUERIES, FEATURES, CLASSES = 40_000, 16_500, 2048, 60
BLOCK = 1024  # queries

# Peak memory of a process that scores one stream, all that it loaded included; MiB.
_MEMORY = """
import json
import torch
from benchmarks.memory import mebibytes
from benchmarks.neighbours import random_features, votes
votes(*random_features(torch.device("cpu")))
print(json.dumps(mebibytes("VmHWM")))
"""


def random_features(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of gallery and queries, one stream, and the gallery's labels."""
    torch.manual_seed(0)
    gallery, query = (torch.randn(1, n, FEATURES, device=device) for n in (GALLERY, QUERIES))
    return gallery, query, torch.randint(0, CLASSES, (GALLERY,), device=device)


def votes(gallery: Tensor, query: Tensor, label: Tensor) -> object:
    """What `cmd_tune evaluate --with knn` asks."""
    return vote_predictions(gallery, query, label, KNN_KS)


def neighbour_rows(device: torch.device, repeats: int) -> list[Row]:
    """1-NN, and all the votes of `evaluate` in all its streams, beside the product of queries and gallery in blocks."""
    gallery, query, label = random_features(device)
    similarity = torch.empty(BLOCK, GALLERY, device=device)

    def product() -> None:
        for part in query[0].split(BLOCK):
            torch.mm(part, gallery[0].T, out=similarity[: len(part)])

    ways = {
        "1-NN": lambda: knn_predictions(gallery, query, label),
        "votes": lambda: votes(gallery, query, label),
        "product": product,
    }
    taken = take_turns(ways, repeats, warm_up=False)
    note = "theirs: the product alone, in blocks"
    rows = [
        Row(f"1-NN of {QUERIES:,} in {GALLERY:,} × {FEATURES:,}", taken["1-NN"], taken["product"], note=note),
        Row(f"votes of {', '.join(map(str, KNN_KS))}, fused and concatenated", taken["votes"], taken["product"]),
    ]
    if device.type == "cpu":
        rows.append(Row("peak memory of the process", Timing((child(_MEMORY),)), unit="MiB"))
    return rows
