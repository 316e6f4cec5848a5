"""How the trials of a search are chosen: a method for each word that `method` of a space file may be.

A new one is a file here and a line in METHODS. Not here: which trials there have been, and what becomes of a
suggestion, which is the study's. Nothing here imports Optuna before a study is opened.
"""

from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.methods.auto import Auto
from cmd_tune.search.study.methods.base import Method
from cmd_tune.search.study.methods.cells import Cells
from cmd_tune.search.study.methods.cmaes import CmaEs
from cmd_tune.search.study.methods.gp import Gp
from cmd_tune.search.study.methods.grid import Grid
from cmd_tune.search.study.methods.qmc import Qmc
from cmd_tune.search.study.methods.random_draws import RandomDraws
from cmd_tune.search.study.methods.tpe import Tpe

METHODS: dict[str, Method] = {
    "auto": Auto(),
    "tpe": Tpe(),
    "gp": Gp(),
    "cmaes": CmaEs(),
    "random": RandomDraws(),
    "qmc": Qmc(),
    "grid": Grid(),
    "cells": Cells(),
}


def method_of(space: Space, trials: int | None) -> Method:
    """The method of a search of so many trials; None: as many as its time allows. Of `auto`, the one it stands for."""
    method = METHODS[space.method]
    return method.resolve(space, trials)[1] if isinstance(method, Auto) else method


def method_title(space: Space, trials: int | None) -> str:
    """The method of a search as its plan and its screen name it; of `auto` with what it stands for, and why."""
    method = METHODS[space.method]
    if not isinstance(method, Auto):
        return space.method
    word, _, why = method.resolve(space, trials)
    return f"{space.method} ({word}: {why})"


__all__ = ["METHODS", "Method", "method_of", "method_title"]
