"""The trials of a search on disk: which there are, what they scored, which comes next, which is stopped.

`SearchStudy` (study.py) holds them; METHODS (methods/) and EARLY_STOPPING (early_stopping/) are what a space file may choose.
This is not where trials are run (execution/), nor where a search is planned or shown (plan.py, report/). Optuna is known
here alone.
"""
