"""The figures of reports, by the names of their PNG files: "table" is written to table.png.

Adding one: a file here with a function of the findings that returns a Drawing (cmd_tune/figures.py), and a line in
FIGURES. A figure computes its data before it draws. Not here: results, which findings.py computes.
"""

from cmd_tune.search.report.base import MakeFigure
from cmd_tune.search.report.figures.ablation import ablation_figure
from cmd_tune.search.report.figures.best_so_far import best_so_far
from cmd_tune.search.report.figures.cells import cells_figure
from cmd_tune.search.report.figures.importance import importance_figure
from cmd_tune.search.report.figures.learning_curves import learning_curves
from cmd_tune.search.report.figures.pairs import pairs
from cmd_tune.search.report.figures.parallel_coordinates import parallel_coordinates
from cmd_tune.search.report.figures.pareto_front import pareto_front

FIGURES: dict[str, MakeFigure] = {
    "table": cells_figure,
    "pareto-front": pareto_front,
    "best-so-far": best_so_far,
    "learning-curves": learning_curves,
    "importance": importance_figure,
    "ablation": ablation_figure,
    "pairs": pairs,
    "parallel-coordinates": parallel_coordinates,
}
