"""A study for a person: a live table while trials run; then tables, files, figures, and verdicts on claims.

It reads the study and chooses nothing. It knows neither Ray nor MLflow, nor the plan of the search.
"""
