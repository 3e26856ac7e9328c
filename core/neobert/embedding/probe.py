"""A linear probe: how well a logistic regression on frozen features tells classes apart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from neobert.errors import UserError

ITERATIONS = 1000
NEEDS_SCIKIT_LEARN = "{} needs scikit-learn, which is not installed here:\n  pip install 'neobert[evaluation]'"


@frozen
class Probe:
    """What a probe got right on rows that it was not fitted on."""

    accuracy: float
    f1: float
    """The mean over classes of each one's F1 (macro)."""
    converged: bool


def linear_probe(
    train: Any, train_labels: Sequence[str], test: Any, test_labels: Sequence[str], *, iterations: int = ITERATIONS
) -> Probe:
    """Fits scikit-learn's logistic regression (L2, C = 1) on ``train``, and tries it on ``test``.

    Features are (N, E), numpy or sparse. Raises UserError where scikit-learn is missing.
    """
    require_scikit_learn("a linear probe")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    model = LogisticRegression(max_iter=iterations)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(train, list(train_labels))
    guesses = model.predict(test)
    return Probe(
        accuracy=float(accuracy_score(list(test_labels), guesses)),
        f1=float(f1_score(list(test_labels), guesses, average="macro", zero_division=0.0)),
        converged=not any(issubclass(warning.category, ConvergenceWarning) for warning in caught),
    )


def require_scikit_learn(what: str) -> None:
    """Raises UserError, with the line that installs it, where scikit-learn is missing."""
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise UserError(NEEDS_SCIKIT_LEARN.format(what))
