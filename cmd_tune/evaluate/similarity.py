"""Similarities of queries to all gallery clips, in each stream, in blocks of queries.

A stream is a modality; `fused`, the mean of the modalities' scores; or `concatenated`, one classifier on their
features end to end.
S stream = M modalities + fused + concatenated, B query of a block, Q query, G gallery, F feature.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from cmd_tune.compute.threads import run_shared, steady

FUSED, CONCATENATED = "fused", "concatenated"

_COLUMNS = 512  # of the gallery, that a thread of a CPU takes at a time
_SMALLEST = 1e-12  # a norm below which a feature counts as 0


def stream_names(modalities: Sequence[str], *, concatenated: bool = True) -> tuple[str, ...]:
    """Names of the streams, in the order of every tensor of streams."""
    return (*modalities, FUSED, CONCATENATED) if concatenated else (*modalities, FUSED)


def similarity_blocks(
    gallery_MGF: Tensor, query_MQF: Tensor, *, concatenated: bool = True, block: int = 1024
) -> Iterator[Tensor]:
    """Yield cosines of successive blocks of queries to the whole gallery, (S, B, G); the next block reuses the tensor.

    fused: the mean of the modalities' cosines; concatenated: the cosine of all modalities' features end to end, in
    which a modality with longer features weighs more. Both are taken from the modalities' own products, and no
    copy of the gallery is made. Cosines do not depend on the number of threads.
    """
    modalities, queries, _ = query_MQF.shape
    gallery = gallery_MGF.shape[1]
    gallery_MFG = gallery_MGF.transpose(1, 2)
    with steady():
        norm_MG, norm_MQ = (torch.linalg.vector_norm(x, dim=2).clamp_(min=_SMALLEST) for x in (gallery_MGF, query_MQF))
        share_MG, share_MQ = (norm / torch.linalg.vector_norm(norm, dim=0) for norm in (norm_MG, norm_MQ))
        inverse_M1G = norm_MG.reciprocal()[:, None]
    width = gallery if query_MQF.is_cuda else _COLUMNS
    streams = modalities + 1 + concatenated
    whole_SBG = query_MQF.new_empty(streams, min(block, queries), gallery)

    @torch.no_grad()
    def fill(similarity_SBG: Tensor, query_MBF: Tensor, share_MB1: Tensor, first: int) -> None:
        """Fill in the columns of the gallery from `first` on, as many as one thread takes."""
        G = slice(first, min(first + width, gallery))
        cosine_MBG, fused_BG = similarity_SBG[:modalities, :, G], similarity_SBG[modalities, :, G]
        for m in range(modalities):
            torch.mm(query_MBF[m], gallery_MFG[m, :, G], out=cosine_MBG[m])
        cosine_MBG.mul_(inverse_M1G[..., G])
        torch.mean(cosine_MBG, dim=0, out=fused_BG)
        if concatenated:
            joined_BG = similarity_SBG[modalities + 1, :, G].zero_()
            for m in range(modalities):
                joined_BG.addcmul_(cosine_MBG[m], share_MB1[m] * share_MG[m, G])

    for start in range(0, queries, block):
        part = slice(start, min(start + block, queries))
        similarity_SBG = whole_SBG[:, : part.stop - part.start]
        with steady():
            query_MBF = query_MQF[:, part] / norm_MQ[:, part, None]
            given = similarity_SBG, query_MBF, share_MQ[:, part, None]
            run_shared([partial(fill, *given, first) for first in range(0, gallery, width)])
        yield similarity_SBG
