"""Many runs: what varies (spaces), which trials there are (study), how they run (execution), what is shown (report).

What was asked for is in plan.py; controller.py connects the study with whatever runs its trials, and search.py goes
from the plan to the report. Not here: a single run, which is in runs/.
"""
