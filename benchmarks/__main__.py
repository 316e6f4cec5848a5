"""`python -m benchmarks` measures beside the authors' way; `python -m benchmarks gpu` measures what a card can show."""

import os
import sys
from importlib import import_module

import typer

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the commands do, before PyTorch is imported

if __name__ == "__main__":
    # What runs the parts starts without what they measure, of which a bare machine may lack a package.
    on_a_card = sys.argv[1:2] == ["gpu"]
    if on_a_card:
        del sys.argv[1]
    typer.run(import_module("benchmarks.gpu").measure if on_a_card else import_module("benchmarks.table").main)
