"""From a source of clips to a store: normalised, on all cores, resumable.

Not here: file formats (readers/), the store itself (store.py). Nothing is imported here: the reading processes start
without PyTorch.
"""
