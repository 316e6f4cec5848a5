"""MLflow as a tracker: runs written so that no call counts twice, the view of a search in its UI, the URIs it goes by.

Not here: what others import, which is in tracking/__init__.py. This is the only folder that imports MLflow.
"""
