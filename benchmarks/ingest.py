"""From raw files to a store: clips a second, against a line-by-line reader and joint-by-joint normalisation."""

import os
from pathlib import Path

import numpy as np

from benchmarks import authors_ingest
from benchmarks.rows import Row
from benchmarks.timing import take_turns
from cmd_tune.data.ingest.ingest import ingest

DISTINCT, COPIES = 24, 100  # the copies are other names of the same files
THEIRS = 8  # clips that the slow way is timed on
PADDED = 300  # frames that the authors normalise of every clip


def write_files(folder: Path) -> list[Path]:
    """Texts of NTU's form and lengths, 40 to 130 frames, a third with two bodies; all of them under many names."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    paths = []
    for number in range(DISTINCT):
        frames, bodies = int(rng.integers(40, 130)), 1 + (number % 3 == 0)
        lines = [str(frames)]
        for x_PVC in rng.normal(size=(frames, bodies, 25, 3)):
            lines.append(str(bodies))
            for x_VC in x_PVC:
                lines += ["72057594037931101 0 1 1 1 1 0 0.3256100 -0.1562419 2", "25"]
                lines += [
                    f"{x:.7f} {y:.7f} {z:.7f} 295.0412 333.7455 837.821 954.0153 0.4840164 0.5369519 -0.8716764 0 2"
                    for x, y, z in x_VC
                ]
        path = folder / f"S001C001P{number + 1:03}R001A001.skeleton"
        path.write_text("\n".join(lines), encoding="utf-8")
        paths.append(path)
        for copy in range(2, COPIES + 1):
            os.link(path, folder / f"S001C001P{number + 1:03}R001A{copy:03}.skeleton")
    return paths


def ingest_rows(folder: Path) -> list[Row]:
    """Seconds a clip: ours with all cores and the writing of the store, theirs on one and without."""
    paths = write_files(folder / "ntu")

    def theirs() -> None:
        for path in paths[:THEIRS]:
            x = authors_ingest.read(path.read_text(encoding="utf-8"))
            padded = np.zeros((2, PADDED, 25, 3))
            padded[:, : x.shape[1]] = x
            authors_ingest.normalize(padded)

    ways = {"ours": lambda: ingest("ntu-120", folder / "ntu", folder / "ntu.arrow"), "theirs": theirs}
    taken = take_turns(ways, 3)
    ours, slow = taken["ours"].scaled(1 / (DISTINCT * COPIES)), taken["theirs"].scaled(1 / THEIRS)
    note = f"{1 / ours.median:,.0f} and {1 / slow.median:,.0f} clips a second; theirs on one core"
    return [Row("a clip of NTU text, read and normalised", ours, slow, note=note)]
