"""Which trials there are, what each has scored, which comes next and which is stopped: on disk, whoever dies.

How trials are run is not known here (execution/), nor how they are shown (report/).
"""
