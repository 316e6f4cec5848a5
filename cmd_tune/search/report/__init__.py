"""A study for a person: a live table while trials run; at the end text files, figures and a report.

It holds functions of the study that return a value (a text, a section, a figure), and one function that writes them
(write.py). SECTIONS, FIGURES and FILES list them; to add one, write a function and a line.

Not here: the choice, the running and the storing of trials. It knows neither Ray, nor a tracker, nor the search's plan.
"""

from cmd_tune.search.report.figures import FIGURES
from cmd_tune.search.report.files import FILES, kept_baselines
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.sections import SECTIONS
from cmd_tune.search.report.write import SearchReport, print_report, write_report

__all__ = [
    "FIGURES",
    "FILES",
    "SECTIONS",
    "SearchReport",
    "StudyFindings",
    "kept_baselines",
    "print_report",
    "write_report",
]
