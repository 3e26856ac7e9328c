"""From published settings to the keys of a recipe, by the table of `neobert.recipe.moved`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from neobert.published.conversion import Conversion, Line
from neobert.published.together import MUON, MUONCLIP, finish
from neobert.published.yaml_files import Settings
from neobert.recipe.moved import Setting, published
from neobert.toml_text import toml_text
from neobert.wording import did_you_mean, listed

_SWITCHES = {
    "task": "the parts that the recipe names",
    "wandb.enabled": "a tracker is listed",
    f"{MUON}.enable_clipping": "a threshold is set",
}
_GROUPED = ("optimizer.hparams", "tokenizer.pretrained_model_name_or_path", "dataloader.", "trainer.accelerate")
"""What only the form with groups has."""


@frozen
class _Offer:
    rank: int
    source: str
    said: Any
    """The value there, and here."""
    value: Any
    setting: Setting


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
    finish(flat, done)
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
