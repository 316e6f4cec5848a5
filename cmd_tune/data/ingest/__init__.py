"""From a source of clips to a store: normalised, on all cores, resumable.

It is neither a file format (readers/) nor the store itself (store.py). Its reading processes start without PyTorch:
nothing is imported here.
"""
