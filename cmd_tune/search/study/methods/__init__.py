"""How the trials of a search are chosen: a method for each word that `method` of a space file may be.

A new one is a file here and a line in METHODS. Not here: which trials there have been, and what becomes of a
suggestion, which is the study's. Nothing here imports Optuna before a study is opened.
"""

from cmd_tune.search.study.methods.base import Method
from cmd_tune.search.study.methods.cells import Cells
from cmd_tune.search.study.methods.grid import Grid
from cmd_tune.search.study.methods.random_draws import RandomDraws
from cmd_tune.search.study.methods.tpe import Tpe

METHODS: dict[str, Method] = {"tpe": Tpe(), "random": RandomDraws(), "grid": Grid(), "cells": Cells()}

__all__ = ["METHODS", "Method"]
