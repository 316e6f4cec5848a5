"""MLflow as a tracker: runs written so that no call counts twice, the view of a search in its UI, the URIs it goes by.

Not here: what others import, which is in tracking/__init__.py. This is the only folder that imports MLflow.
"""

import os

# Read as MLflow is imported: nothing is sent but to the server or database that was named.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
