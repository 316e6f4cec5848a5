"""Raw files of each data set, one reader a format: a file → a clip with joints as recorded, in metres."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS, Layout
from cmd_tune.data.readers.ntu import parse_ntu
from cmd_tune.data.readers.nw_ucla import parse_nw_ucla


@dataclass(frozen=True)
class Reader:
    """suffix: of a clip's file. parse: (how messages name the file, its name's stem, its bytes) → its clip."""

    layout: Layout
    suffix: str
    parse: Callable[[str, str, bytes], Clip]


READERS = {
    "ntu-60": Reader(LAYOUTS["ntu-25"], ".skeleton", partial(parse_ntu, 60)),
    "ntu-120": Reader(LAYOUTS["ntu-25"], ".skeleton", partial(parse_ntu, 120)),
    "nw-ucla": Reader(LAYOUTS["kinect-20"], ".json", parse_nw_ucla),
}
