"""MLflow as a tracker: runs written so that no call counts twice, the view of a search in its UI, the URIs it goes by.

The only folder that imports MLflow. It is not for runs/ and search/ to import: the door of tracking/ is.
"""
