"""Weights to start a run from: read from folders and files, and put into place strictly."""

from neobert.weights.files import Location, find_weights
from neobert.weights.load import check_weights, load_weights
from neobert.weights.vocabulary import compare_vocabulary

__all__ = ["Location", "check_weights", "compare_vocabulary", "find_weights", "load_weights"]
