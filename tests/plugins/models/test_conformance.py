from __future__ import annotations

import pytest

from neobert.testing import check_model


@pytest.mark.parametrize(
    "changes",
    [{}, {"ngpt": True}, {"rope": False, "rms_norm": False, "hidden_act": "gelu"}, {"dropout_prob": 0.1}],
    ids=["published", "ngpt", "the_other_way", "dropout"],
)
def test_the_model_keeps_its_promises(options, changes):
    check_model(options(**changes))
