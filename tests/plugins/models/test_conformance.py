from __future__ import annotations

import pytest

from neobert.testing import check_model
from neobert_plugins.models.scaling import RopeScaling

YARN = RopeScaling(type="yarn", factor=4.0, original_max_position_embeddings=16)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ngpt": True},
        {"rope": False, "rms_norm": False, "hidden_act": "gelu"},
        {"dropout_prob": 0.1},
        {"global_every": 2, "window": 2, "num_hidden_layers": 4, "rope_scaling": YARN},
        {"global_every": 3, "window": 1, "num_hidden_layers": 3, "local_rope_theta": 9.0, "backend": "eager"},
        {"global_every": 2, "window": 3, "ngpt": True, "rope_scaling": YARN, "dropout_prob": 0.1},
    ],
    ids=["published", "ngpt", "the_other_way", "dropout", "local_yarn", "local_theta", "local_ngpt"],
)
def test_the_model_keeps_its_promises(options, changes):
    check_model(options(**changes))
