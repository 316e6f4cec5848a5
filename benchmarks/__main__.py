"""`python -m benchmarks` measures beside the authors' way. With `gpu`: what a card can show; `soak` kills processes;
`fuzz` tries wrong inputs; `workers` counts what workers exchange, and compares their results; `search-start` times
the start of a search; `search` says what one takes beside its trials; `tuning` repeats searches over `tuning-runs`.
"""

import os
import sys
from importlib import import_module

import typer

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the commands do, before PyTorch is imported

if __name__ == "__main__":
    # What runs the parts starts without what they measure, of which a bare machine may lack a package.
    others = {
        "gpu": ("benchmarks.gpu", "measure"),
        "soak": ("benchmarks.soak", "main"),
        "fuzz": ("benchmarks.fuzz", "main"),
        "workers": ("benchmarks.workers", "main"),
        "search": ("benchmarks.search", "main"),
        "search-start": ("benchmarks.search_start", "main"),
        "tuning": ("benchmarks.tuning", "main"),
        "tuning-runs": ("benchmarks.tuning_runs", "main"),
    }
    word = sys.argv.pop(1) if sys.argv[1:2] and sys.argv[1] in others else ""
    module, function = others.get(word, ("benchmarks.table", "main"))
    typer.run(getattr(import_module(module), function))
