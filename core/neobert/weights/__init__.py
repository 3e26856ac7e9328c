"""Weights to start a run from: read from folders and files, and put into place strictly."""

from neobert.weights.files import find_weights
from neobert.weights.load import load_weights

__all__ = ["find_weights", "load_weights"]
