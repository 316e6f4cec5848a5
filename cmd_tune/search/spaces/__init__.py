"""A YAML file becomes a space: parameters, constraints, the cells and claims of a comparison. All its mistakes are named.

`load_space` (space_file.py) reads a file. It is given the methods and the rules of early stopping that the file may name.
This is not where configurations are sampled, nor where a search is run or judged: see study/ and report/. Nothing here
imports Optuna or Ray.
"""
