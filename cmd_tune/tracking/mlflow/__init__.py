"""MLflow, which nothing outside of this folder imports: runs written so that no call counts twice, the view of a search
in its UI, and the address that a run goes to.
"""
