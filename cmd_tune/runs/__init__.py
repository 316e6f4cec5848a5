"""One run, and what every run has: a folder, a plan file, a lock, a session, an environment, scores beside baselines.

The work of the commands pretrain and evaluate is here, and that of one trial. Not here: a second run, what varies,
which trials there are; these are in search/.
"""
