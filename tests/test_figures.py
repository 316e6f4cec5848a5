from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.figures import DPI, new_figure, save_figure


def test_a_figure_is_a_png_of_its_size_in_inches(tmp_path: Path) -> None:
    path = save_figure(new_figure(3, 2), tmp_path / "figures" / "empty.png")
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (3 * DPI, 2 * DPI)
    assert [found.name for found in path.parent.iterdir()] == ["empty.png"]


def test_a_figure_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CmdTuneError, match=r"file/figure\.png: cannot be written"):
        save_figure(new_figure(1, 1), tmp_path / "file" / "figure.png")
