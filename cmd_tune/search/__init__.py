"""Many runs: what varies (spaces), which trials there are (study), how they run (execution), what is shown (report).

plan.py says what was asked for, controller.py connects the study with whatever runs its trials, and search.py goes from
the plan to the report. A single run is no search: it is in cmd_tune/runs.
"""
