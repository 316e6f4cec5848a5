"""Families of normalisation: what `ingest` does to the joints of a clip, one file per family, free of PyTorch.

Not here: which joints are missing, and the reading of clips (ingest/). NORMALIZATIONS lists the families by the word
that users type; a new one is a file here and a line in it.
"""

from collections.abc import Mapping

from cmd_tune.data.normalizations.base import Normalization
from cmd_tune.data.normalizations.centred import centre_frames
from cmd_tune.data.normalizations.ctr_gcn import shift_to_start
from cmd_tune.data.normalizations.none import keep_recorded
from cmd_tune.data.normalizations.torso import measure_in_torsos
from cmd_tune.data.normalizations.two_stream_agcn import align_first_frame
from cmd_tune.data.normalizations.upright import stand_upright

NORMALIZATIONS: Mapping[str, Normalization] = {
    "2s-agcn": Normalization(align_first_frame, made_from=("ctr-gcn",), up=2, flat=False),
    "upright": Normalization(stand_upright, made_from=("ctr-gcn", "centred"), up=2, flat=False),
    "torso": Normalization(measure_in_torsos, made_from=("ctr-gcn", "centred"), keeps_size=False),
    "centred": Normalization(centre_frames, made_from=("ctr-gcn",)),
    "ctr-gcn": Normalization(shift_to_start),
    "none": Normalization(keep_recorded),
}


def families_from(held: str | None, coordinates: int = 3) -> list[str]:
    """The families that can be made from joints of the family `held`; from joints as recorded (None), all.

    coordinates: of a joint, 2 or 3.
    """
    return [
        name
        for name, family in NORMALIZATIONS.items()
        if held in (None, name, *family.made_from) and (family.flat or coordinates == 3)
    ]
