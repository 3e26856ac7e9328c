"""Weights to start a run from: read from folders and files, and put into place strictly."""

from neobert.weights.load import load_weights

__all__ = ["load_weights"]
