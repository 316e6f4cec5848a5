"""The trials of a search on disk: which there are, what they scored, which comes next, which is stopped.

`SearchStudy` (study.py) holds them; a space file chooses from METHODS (methods/) and EARLY_STOPPING (early_stopping/).
Not here: how trials are run (execution/), what was asked for (plan.py), what is shown (report/). Optuna is known here
alone.
"""
