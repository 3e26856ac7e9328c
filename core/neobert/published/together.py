"""What several settings decide together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neobert.published.conversion import Conversion, Line
from neobert.recipe.moved import always, with_muonclip
from neobert.toml_text import toml_text

MUON = "optimizer.muon_config"
MUONCLIP = "muonclip"
WARMUP, DECAY = "scheduler.warmup_steps", "scheduler.decay_steps"


def finish(flat: Mapping[str, Any], done: Conversion) -> None:
    """What several settings decide together."""
    keys = done.keys
    for key, value in always().items():
        if key not in keys:
            keys[key] = value
            done.always.append(Line(key, value, "as the published code always does"))
    if str(flat.get("optimizer.name")).lower() == MUONCLIP:
        with_it = with_muonclip()
        for key, source in with_it["copies"].items():
            if source not in keys:
                continue
            keys[key] = keys[source]
            done.turned.append(Line(source, keys[source], f"{key}, too"))
        clipped = flat.get(f"{MUON}.enable_clipping") is not False
        for key, value in with_it["unless_unclipped"].items():
            if clipped and key not in keys:
                keys[key] = value
                done.defaults.append(Line(f"{MUON}.clipping_threshold", value, f"{key} = {toml_text(value)}"))
    if DECAY in keys:
        _set_decay(flat, done)


def _set_decay(flat: Mapping[str, Any], done: Conversion) -> None:
    """There it is the step at which the decay ends, here its length."""
    keys, end = done.keys, done.keys[DECAY]
    percent, max_steps = keys.get("scheduler.warmup_percent"), keys.get("trainer.max_steps")
    if not all(isinstance(value, int | float | None) for value in (end, percent, max_steps, keys.get(WARMUP))):
        return  # the check will tell what is wrong with it
    warmup = keys.get(WARMUP, 0) if percent is None or max_steps is None else round(max_steps * percent / 100)
    source = DECAY if flat.get(DECAY) is not None else "scheduler.total_steps"
    done.same = [key for key in done.same if key != DECAY]
    done.turned = [line for line in done.turned if not line.why.startswith(DECAY)]
    if max_steps is not None and end > max_steps:
        del keys[DECAY]
        why = f"the decay would end after trainer.max_steps = {max_steps}; here it ends there"
        done.without.append(Line(source, end, why))
    elif end == max_steps:
        del keys[DECAY]
        done.turned.append(Line(source, end, "trainer.max_steps, where the decay ends anyhow"))
    else:
        keys[DECAY] = end - warmup
        done.turned.append(Line(source, end, f"{DECAY} = {end - warmup}: its length, after {warmup} steps of warm-up"))
