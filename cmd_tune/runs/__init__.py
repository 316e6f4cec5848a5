"""One run, and what every run has: a folder, a lock, a session with its end, an environment, scores beside baselines.

The commands pretrain and evaluate are here. It knows of no second run: what varies, and which trials there are, is
said in search/.
"""
