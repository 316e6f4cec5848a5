"""The trials of a search on disk: which there are, what they scored, which comes next, which is stopped.

`SearchStudy` (study.py) holds them; a space file chooses from METHODS (methods/) and EARLY_STOPPING (early_stopping/).
This is not where trials are run (execution/), nor where a search is planned or shown (plan.py, report/). Optuna is
known here alone.
"""
