"""A YAML file becomes a space: parameters, constraints, a comparison's cells and claims. All its mistakes are named.

`load_space` (space_file.py) reads a file; it is given the methods and the rules of early stopping that a file may name.
Not here: how configurations are sampled (study/), how results are judged (report/). Nothing here imports Optuna or Ray.
"""
