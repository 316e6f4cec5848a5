from pathlib import Path

import pytest
from matplotlib.figure import Figure

from cmd_tune.errors import CmdTuneError
from cmd_tune.figures import DPI, new_figure, save_drawing, save_figure


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


class Line:
    """Two points and the line between them."""

    caption, size = "A line", (2.0, 1.0)

    def draw(self, figure: Figure) -> None:
        assert figure.get_size_inches().tolist() == [2.0, 1.0]
        assert figure.axes == []
        figure.subplots().plot([0, 1])


def test_a_drawing_is_given_an_empty_figure_of_its_size(tmp_path: Path) -> None:
    data = save_drawing(Line(), tmp_path / "line.png").read_bytes()
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (2 * DPI, 1 * DPI)
