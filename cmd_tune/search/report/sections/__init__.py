"""The sections of reports, in their order, by the names that messages have for them.

Adding one: a file here with a function of the findings (base.py), and a line in SECTIONS. Not here: results, which
findings.py computes.
"""

from cmd_tune.search.report.base import MakeSection
from cmd_tune.search.report.sections.ablation import ablation
from cmd_tune.search.report.sections.answer import answer
from cmd_tune.search.report.sections.beside_reported import beside_reported
from cmd_tune.search.report.sections.best_against_baselines import best_against_baselines
from cmd_tune.search.report.sections.best_trials import best_trials
from cmd_tune.search.report.sections.cells import cells
from cmd_tune.search.report.sections.claims import claims
from cmd_tune.search.report.sections.confirmed import confirmed
from cmd_tune.search.report.sections.figures import figures
from cmd_tune.search.report.sections.health import health
from cmd_tune.search.report.sections.importance import importance
from cmd_tune.search.report.sections.method import method
from cmd_tune.search.report.sections.pareto_front import pareto_front
from cmd_tune.search.report.sections.setup import setup

SECTIONS: dict[str, MakeSection] = {
    "answer": answer,
    "health": health,
    "best trials": best_trials,
    "intervals": best_against_baselines,
    "confirmed": confirmed,
    "ablation": ablation,
    "pareto front": pareto_front,
    "reported": beside_reported,
    "importance": importance,
    "setup": setup,
    "cells": cells,
    "figures": figures,
    "claims": claims,
    "method": method,
}
