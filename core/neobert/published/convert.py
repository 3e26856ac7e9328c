"""From published settings to the keys of a recipe, by the table of `neobert.recipe.moved`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field, frozen

from neobert.published.yaml_files import Settings
from neobert.recipe.moved import Setting, always, published, with_muonclip
from neobert.toml_text import toml_text
from neobert.wording import did_you_mean, listed

MUON = "optimizer.muon_config"
MUONCLIP = "muonclip"
WARMUP, DECAY = "scheduler.warmup_steps", "scheduler.decay_steps"
_SWITCHES = {
    "task": "the parts that the recipe names",
    "wandb.enabled": "a tracker is listed",
    f"{MUON}.enable_clipping": "a threshold is set",
}
_GROUPED = ("optimizer.hparams", "tokenizer.pretrained_model_name_or_path", "dataloader.", "trainer.accelerate")
"""What only the form with groups has."""


@frozen
class Line:
    """What became of one setting."""

    key: str
    value: Any
    why: str
    """A key here, or the reason that there is none."""


@frozen
class _Offer:
    rank: int
    source: str
    said: Any
    """The value there, and here."""
    value: Any
    setting: Setting


@define
class Conversion:
    """The keys of a recipe, and what there is to say of each setting."""

    keys: dict[str, Any] = field(factory=dict)
    same: list[str] = field(factory=list)
    turned: list[Line] = field(factory=list)
    defaults: list[Line] = field(factory=list)
    """Left out of the file: the published default."""
    always: list[Line] = field(factory=list)
    """What the published code does without a setting."""
    without: list[Line] = field(factory=list)
    """No counterpart."""
    unknown: list[Line] = field(factory=list)
    """No setting of the published code."""

    def leave_out(self, key: str, why: str) -> None:
        """Takes back a key that is refused here."""
        value, setting = self.keys.pop(key), published().get(key)
        for lines in (self.turned, self.defaults, self.always):
            lines[:] = [line for line in lines if key not in (line.key, line.why.partition(" = ")[0])]
        self.same = [name for name in self.same if name != key]
        more = f"; {setting.said}" if setting is not None and setting.text else ""
        self.without.append(Line(key, value, f"refused here: {why}{more}"))


def convert(settings: Settings) -> Conversion:
    """Every setting is in one of the lists afterwards; ``null`` says nothing, and is in none."""
    flat = {key: _number(value) for key, value in _flat(settings.tree, ())}
    done, offers = Conversion(), dict[str, list[_Offer]]()
    grouped = bool(settings.groups) or any(key.startswith(_GROUPED) for key in flat)
    for key, value in flat.items():
        if value is None or value in ("", {}):
            continue
        _offer(key, value, flat, grouped, done, offers)
    if not grouped:
        _offer_defaults(flat, done, offers)
    for target, found in offers.items():
        _take(target, found, done)
    _finish(flat, done)
    return done


def _flat(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Dotted keys; a table that is empty, or a setting itself with nothing known inside, is a value."""
    for key, value in tree.items():
        here = (*path, str(key))
        name = ".".join(here)
        if isinstance(value, Mapping) and value and (name not in published() or _has_inside(name)):
            yield from _flat(value, here)
        else:
            yield name, value


def _has_inside(name: str) -> bool:
    return any(key.startswith(f"{name}.") for key in published())


def _number(value: Any) -> Any:
    """YAML's ``1e6`` is a float: where it is whole it is a count."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) > 1 else value


def _offer(
    key: str, value: Any, flat: Mapping[str, Any], grouped: bool, done: Conversion, offers: dict[str, list[_Offer]]
) -> None:
    setting = published().get(key)
    if setting is None:
        done.unknown.append(Line(key, value, f"no setting of the published code{did_you_mean(key, published())}"))
        return
    if key in _SWITCHES and value:
        done.turned.append(Line(key, value, _SWITCHES[key]))
        return
    reason = _not_read(key, flat, grouped)
    target = setting.to or (key if setting.same else None)
    if reason is not None or target is None:
        done.without.append(Line(key, value, reason or setting.said))
        return
    if setting.values:
        word = str(value).lower()
        if word not in setting.values:
            known = listed(setting.values, "or")
            done.without.append(Line(key, value, f"only {known} has a counterpart; {setting.said}"))
            return
        value = setting.values[word]
        if value == "":
            done.turned.append(Line(key, flat[key], f"{target} is left out, which means the same"))
            return
    offers.setdefault(target, []).append(_Offer(0 if key == target else setting.rank, key, flat[key], value, setting))


def _not_read(key: str, flat: Mapping[str, Any], grouped: bool) -> str | None:
    """Why the published code does not read this setting in a file like this, or another one decides of it."""
    if key.startswith(f"{MUON}.") and str(flat.get("optimizer.name")).lower() != MUONCLIP:
        return f"only optimizer.name: {MUONCLIP} reads it"
    if key == f"{MUON}.clipping_threshold" and flat.get(f"{MUON}.enable_clipping") is False:
        return "enable_clipping is false"
    if key.startswith("wandb.") and not flat.get("wandb.enabled", grouped):
        return "wandb.enabled is not true: no such tracker is listed"
    if key.startswith("contrastive.") and flat.get("task") != "contrastive":
        return "only task: contrastive reads it"
    if key.startswith("datacollator.mlm") and flat.get("task") == "contrastive":
        return "no token is masked in a contrastive run"
    if key == "model.name" and not flat.get("model.from_hub"):
        return "a label: the recipe's model is the published one"
    return None


def _offer_defaults(flat: Mapping[str, Any], done: Conversion, offers: dict[str, list[_Offer]]) -> None:
    for key, setting in published().items():
        target = setting.to or key
        if setting.default is None or key in flat or target in offers or _not_read(key, flat, False) is not None:
            continue
        value = setting.values.get(str(setting.default).lower(), setting.default) if setting.values else setting.default
        offers[target] = [_Offer(0, key, setting.default, value, setting)]
        here = "" if (key, setting.default) == (target, value) else f"{target} = {toml_text(value)}"
        done.defaults.append(Line(key, setting.default, here))


def _take(target: str, found: list[_Offer], done: Conversion) -> None:
    best, *others = sorted(found, key=lambda offer: offer.rank)
    done.keys[target] = best.value
    for key, value in best.setting.adds.items():
        done.keys.setdefault(key, value)
    given = best.source not in {line.key for line in done.defaults}
    if given and best.source == target and best.said == best.value:
        done.same.append(target)
    elif given:
        done.turned.append(Line(best.source, best.said, f"{target} = {toml_text(best.value)}"))
    for other in others:
        if other.value == best.value:
            done.turned.append(Line(other.source, other.said, f"{target}, as {best.source} says too"))
        else:
            done.without.append(Line(other.source, other.said, f"{best.source} says otherwise, and is taken"))


def _finish(flat: Mapping[str, Any], done: Conversion) -> None:
    """What several settings decide together."""
    keys = done.keys
    for key, value in always().items():
        if key not in keys:
            keys[key] = value
            done.always.append(Line(key, value, "as the published code always does"))
    if str(flat.get("optimizer.name")).lower() == MUONCLIP:
        with_it = with_muonclip()
        for key, source in with_it["copies"].items():
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
