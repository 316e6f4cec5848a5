"""From the files of a data set to what a run may see of it: readers, clips, the store, splits, views.

Not here: models, training, scores. Nothing is imported here: the processes that read files start without PyTorch.
"""
