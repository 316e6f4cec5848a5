"""From a clip to what a branch sees: a cropped and sheared view of it, as a modality.

Pure functions of a whole batch on its device. Which clips are drawn, and in which order, is train/batches.py's.
"""
