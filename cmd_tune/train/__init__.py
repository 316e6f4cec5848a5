"""Settings and a store to a checkpoint: batches, steps, the training loop, several workers, the checkpoint's files.

Not here: scores, trackers, trials. It runs without Ray, in one process or in several.
"""
