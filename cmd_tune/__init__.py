"""Hyperparameter tuning for CMD, cross-modal mutual distillation of skeleton encoders."""

__version__ = "0.1.0"
