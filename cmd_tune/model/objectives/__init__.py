"""Losses on the similarities of a batch to the memory banks. Not here: encoders, banks, settings.

`OBJECTIVES` lists the methods by name. To add one, write a subclass of `Objective` in a file of its own and put it into
the tuple below; `--set objective=NAME` then chooses it. Its fields become fields of `Settings` (cmd_tune/settings.py).
It is computed by PyTorch until it names its `terms`, which the one-pass kernels compute.
"""

from cmd_tune.model.objectives.contrast import MCL, Base
from cmd_tune.model.objectives.crossclr import CrosSCLR
from cmd_tune.model.objectives.distillation import CMD, DISTILLATIONS
from cmd_tune.model.objectives.objective import Objective

__all__ = ["CMD", "DISTILLATIONS", "MCL", "OBJECTIVES", "Base", "CrosSCLR", "Objective"]

OBJECTIVES: dict[str, type[Objective]] = {method.name: method for method in (Base, MCL, CrosSCLR, CMD)}
