"""Encoders to scores: features, then nearest neighbours, linear probes, retrieval, fine-tuning, with their intervals.

Not here: folders, trackers, the choice of what is scored.
"""
