"""Hyperparameter search for Sequifier models."""

__version__ = "0.1.0"
