"""From a YAML file to a space: parameters, constraints, a comparison's cells and claims, checked and named in one line.

Nothing is sampled or run here: which trials there are is the study's.
"""
