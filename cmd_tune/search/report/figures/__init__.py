"""The figures of reports, by the names of their PNG files: "table" is written to table.png.

Adding one: a file here with a function of the findings that returns a Drawing (cmd_tune/figures.py), and a line in
FIGURES. A figure computes its data before it draws. Not here: results, which findings.py computes.
"""

from cmd_tune.search.report.base import MakeFigure
from cmd_tune.search.report.figures.cells import cells_figure

FIGURES: dict[str, MakeFigure] = {
    "table": cells_figure,
}
