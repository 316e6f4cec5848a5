"""The authors' way of working, written small and plain from the paper: what the benchmarks measure against.

Six encoders called one frame at a time, banks as (D, K), sorted neighbours, one optimiser step by autograd through all
of it; views made clip by clip in NumPy; evaluation by scikit-learn and by a classifier trained through the encoder.
tests/benchmarks checks that it gives the same numbers as the package. Mao et al., ECCV 2022.
N sample, C coordinate, T frame, V joint, P body, D embedding, K bank row.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Clip = NDArray[np.float32]  # (C, T, V, P)


class Encoder(nn.Module):
    """Batch norm, a bidirectional GRU stepped frame by frame with its state carried on, projection head.

    Modules have the names that the authors' checkpoints have.
    """

    def __init__(self, channels: int, hidden_size: int, layers: int, embedding_size: int) -> None:
        super().__init__()
        width = 2 * hidden_size
        self.input_norm = nn.BatchNorm1d(channels)
        gru = nn.GRU(channels, hidden_size, layers, batch_first=True, bidirectional=True)
        self.encoder = nn.ModuleDict({"gru": gru})
        self.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, embedding_size))

    def features(self, x_NCTVP: Tensor) -> Tensor:
        x_NTX = x_NCTVP.permute(0, 2, 3, 1, 4).flatten(2)
        x_NTX = self.input_norm(x_NTX.transpose(1, 2)).transpose(1, 2)
        gru = self.encoder["gru"]
        out, hidden = gru(x_NTX[:, :1])
        outputs = out
        for t in range(1, x_NTX.shape[1]):
            out, hidden = gru(x_NTX[:, t : t + 1], hidden)
            outputs = torch.cat((outputs, out), dim=1)
        return outputs[:, -1]

    def forward(self, x_NCTVP: Tensor) -> Tensor:
        return F.normalize(self.fc(self.features(x_NCTVP)), dim=1)


class CMD(nn.Module):
    """Joint, motion and bone encoders, their momentum twins and their queues."""

    queue: Tensor
    queue_motion: Tensor
    queue_bone: Tensor
    queue_ptr: Tensor

    def __init__(
        self,
        parents: Sequence[int],
        channels: int,
        *,
        hidden_size: int,
        layers: int,
        embedding_size: int,
        queue_size: int,
        topk: int,
        key_momentum: float,
        contrast_temperature: float = 0.07,
        teacher_temperature: float = 0.05,
        student_temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.parents = list(parents)
        sizes = (channels, hidden_size, layers, embedding_size)
        self.encoder_q, self.encoder_q_motion, self.encoder_q_bone = (Encoder(*sizes) for _ in range(3))
        self.encoder_k, self.encoder_k_motion, self.encoder_k_bone = (
            copy.deepcopy(query).requires_grad_(False) for query in self.queries()
        )
        for name in ("queue", "queue_motion", "queue_bone"):
            self.register_buffer(name, F.normalize(torch.randn(embedding_size, queue_size), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))
        self.topk, self.key_momentum = topk, key_momentum
        self.contrast_temperature = contrast_temperature
        self.teacher_temperature, self.student_temperature = teacher_temperature, student_temperature

    def queries(self) -> list[Encoder]:
        return [self.encoder_q, self.encoder_q_motion, self.encoder_q_bone]

    def keys(self) -> list[Encoder]:
        return [self.encoder_k, self.encoder_k_motion, self.encoder_k_bone]

    def queues(self) -> list[Tensor]:
        return [self.queue, self.queue_motion, self.queue_bone]

    def modalities(self, x_NCTVP: Tensor) -> list[Tensor]:
        motion = torch.zeros_like(x_NCTVP)
        motion[:, :, :-1] = x_NCTVP[:, :, 1:] - x_NCTVP[:, :, :-1]
        bone = torch.zeros_like(x_NCTVP)
        for joint, parent in enumerate(self.parents):
            bone[:, :, :, joint] = x_NCTVP[:, :, :, joint] - x_NCTVP[:, :, :, parent]
        return [x_NCTVP, motion, bone]

    def embed(self, query_NCTVP: Tensor, key_NCTVP: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Queries, momentum update, keys; one of each a modality."""
        embed_q = [encoder(x) for encoder, x in zip(self.queries(), self.modalities(query_NCTVP), strict=True)]
        with torch.no_grad():
            for query, key in zip(self.queries(), self.keys(), strict=True):
                for parameter_q, parameter_k in zip(query.parameters(), key.parameters(), strict=True):
                    parameter_k.data = parameter_k.data * self.key_momentum + parameter_q.data * (1 - self.key_momentum)
            embed_k = [encoder(x) for encoder, x in zip(self.keys(), self.modalities(key_NCTVP), strict=True)]
        return embed_q, embed_k

    def losses(self, embed_q: list[Tensor], embed_k: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(contrastive, distillation), sums over modalities and over ordered pairs."""
        queues = [queue.clone().detach() for queue in self.queues()]
        student = [q @ queue for q, queue in zip(embed_q, queues, strict=True)]
        teacher = [k @ queue for k, queue in zip(embed_k, queues, strict=True)]
        nearest = [torch.topk(similarity, self.topk, dim=1) for similarity in teacher]

        contrastive, distillation = embed_q[0].new_zeros(()), embed_q[0].new_zeros(())
        for q, k, negative in zip(embed_q, embed_k, student, strict=True):
            logits = torch.cat(((q * k).sum(1, keepdim=True), negative), dim=1) / self.contrast_temperature
            contrastive = contrastive + F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))
        for a, (similarity, index) in enumerate(nearest):
            for b in range(3):
                if a != b:
                    log_s = F.log_softmax(torch.gather(student[b], 1, index) / self.student_temperature, dim=1)
                    p = F.softmax(similarity / self.teacher_temperature, dim=1)
                    distillation = distillation + F.kl_div(log_s, p, reduction="batchmean")
        return contrastive, distillation

    @torch.no_grad()
    def enqueue(self, embed_k: list[Tensor]) -> None:
        size, batch, pointer = self.queue.shape[1], len(embed_k[0]), int(self.queue_ptr)
        for queue, k in zip(self.queues(), embed_k, strict=True):
            queue[:, pointer : pointer + batch] = k.T
        self.queue_ptr[0] = (pointer + batch) % size


def crop_resize(clip: Clip, start: int, length: int, frames: int) -> Clip:
    """Frames start … start + length, resized linearly to `frames`."""
    C, _, V, P = clip.shape
    flat = torch.from_numpy(clip[:, start : start + length].transpose(0, 2, 3, 1).reshape(C * V * P, length).copy())
    resized = F.interpolate(flat[None, :, :, None], size=(frames, 1), mode="bilinear", align_corners=False)
    return resized[0, :, :, 0].reshape(C, V, P, frames).permute(0, 3, 1, 2).contiguous().numpy()


def random_crop(clip: Clip, frames: int, rng: np.random.Generator, smallest: float = 0.1) -> Clip:
    total = clip.shape[1]
    length = min(max(int(np.floor(total * rng.uniform(smallest, 1.0))), frames), total)
    return crop_resize(clip, int(rng.integers(0, total - length + 1)), length, frames)


def shear(clip: Clip, matrix: NDArray[np.float32]) -> Clip:
    return np.dot(clip.transpose(1, 2, 3, 0), matrix.T).transpose(3, 0, 1, 2)


def corrupt(clip: Clip, joints: NDArray[np.int64], matrix: NDArray[np.float32] | None) -> Clip:
    """The named joints multiplied by the matrix, or zeroed where it is None."""
    out = clip.copy()
    chosen = clip[:, :, joints]
    out[:, :, joints] = 0 if matrix is None else shear(chosen, matrix)
    return out


def view(clip: Clip, frames: int, rng: np.random.Generator) -> Clip:
    """One augmented view: crop, then shear or joint corruption."""
    cropped = random_crop(clip, frames, rng)
    matrix = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
    if rng.random() < 0.5:
        np.fill_diagonal(matrix, 1.0)
        return shear(cropped, matrix)
    joints = rng.choice(clip.shape[2], round(0.6 * clip.shape[2]), replace=False)
    return corrupt(cropped, joints, None if rng.random() < 0.5 else matrix)


def knn_accuracy(
    gallery: NDArray[np.float32], query: NDArray[np.float32], label_G: NDArray[np.int64], label_Q: NDArray[np.int64]
) -> float:
    from sklearn.neighbors import KNeighborsClassifier

    knn = KNeighborsClassifier(n_neighbors=1, metric="cosine").fit(gallery, label_G)
    return float(100 * (knn.predict(query) == label_Q).mean())


class LinearProbe:
    """A classifier on a frozen encoder that sees every clip anew, augmented and encoded, in every epoch."""

    def __init__(self, encoder: Encoder, features: int, classes: int) -> None:
        self.encoder = encoder.eval()
        self.device = next(encoder.parameters()).device
        self.classifier = nn.Linear(features, classes).to(self.device)
        self.optimizer = torch.optim.SGD(self.classifier.parameters(), lr=0.1, momentum=0.9)

    def epoch(
        self, clips: Sequence[Clip], label_N: NDArray[np.int64], frames: int, rng: np.random.Generator, batch: int = 64
    ) -> None:
        order = rng.permutation(len(clips))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            x = torch.from_numpy(np.stack([random_crop(clips[i], frames, rng, smallest=0.5) for i in chosen]))
            with torch.no_grad():
                features = self.encoder.features(x.to(self.device))
            loss = F.cross_entropy(self.classifier(features), torch.from_numpy(label_N[chosen]).to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
