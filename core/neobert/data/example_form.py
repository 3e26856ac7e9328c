"""What the examples of a run are made of: roles, prefixes, and how long a text may be."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, field, frozen

from neobert.data.pair_form import PairTokens
from neobert.data.sequences import SpecialTokens, body_length
from neobert.errors import UserError
from neobert.roles import Roles
from neobert.wording import counted

if TYPE_CHECKING:
    from neobert.mixture import MixtureSource
    from neobert.served import CollatorKeys, DatasetKeys

logger = logging.getLogger("neobert.data")


@frozen(eq=False, kw_only=True)
class ExampleRules:
    """How stored texts become the sequences of an example. Small and picklable: workers have it too."""

    roles: Roles
    special: SpecialTokens
    """Around every sequence."""
    body: int
    """Tokens of a text, its prefix included, that a sequence holds: the rest is cut off."""
    drop: bool = False
    """An example with a longer text is left out instead."""
    prefix_ids: Mapping[str, tuple[int, ...]] = field(factory=dict)
    """Role -> its prefix's own tokens."""
    pair: PairTokens | None = None
    """What stands around two texts that are joined."""
    pair_body: int = 0
    """Tokens that both have together, prefixes included."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The roles that hold texts, in the order in which a row's texts are stored."""
        return (*self.roles.texts, *self.roles.lists)

    def numbers(self, names: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The places of these roles among the slots."""
        return np.array([number for number, name in enumerate(self.slots) if name in names], dtype=np.uint8)


@frozen(eq=False, kw_only=True)
class ExampleForm:
    """`ExampleRules`, and what rows are read with. Raises UserError for prefixes that leave a text no room."""

    rules: ExampleRules
    tokenizer: Any
    prefixes: Mapping[str, str] = field(factory=dict)
    """Role -> text put before; one that is empty is nothing."""
    labels: tuple[str, ...] = ()
    """Strings that stand for whole numbers: each for its place here."""
    said: str = "dataset.role_prefixes"
    """The key of the prefixes."""

    @classmethod
    def of(cls, roles: Roles, tokenizer: Any, keys: DatasetKeys, collator_keys: CollatorKeys) -> ExampleForm:
        """As a recipe says."""
        special = SpecialTokens.of(tokenizer)
        rules = ExampleRules(
            roles=roles,
            special=special,
            body=body_length(keys.max_seq_length, special),
            drop=collator_keys.overflow == "drop",
            **(_joined(tokenizer, keys.max_seq_length) if roles.joined else {}),
        )
        return cls(rules=rules, tokenizer=tokenizer).with_prefixes(keys.role_prefixes)

    def with_prefixes(self, prefixes: Mapping[str, str], said: str = "dataset.role_prefixes") -> ExampleForm:
        """The same with these prefixes."""
        ids = {
            role: tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
            for role, text in prefixes.items()
            if text
        }
        long = [
            f"{said}.{role} has {counted(len(found), 'token')}, and a sequence holds {self._room(role)} "
            f"(dataset.max_seq_length without its special tokens{', half of it' * (role in self.rules.roles.joined)}): "
            "no text fits behind it"
            for role, found in ids.items()
            if len(found) >= self._room(role)
        ]
        if long:
            raise UserError("\n".join(long))
        unknown = self.tokenizer.unk_token_id
        for role, found in ids.items():
            if unknown is not None and unknown in found:
                _warn(f"{said}.{role}", prefixes[role], " ".join(self.tokenizer.convert_ids_to_tokens(found)))
        return evolve(self, prefixes=prefixes, rules=evolve(self.rules, prefix_ids=ids), said=said)

    def _room(self, role: str) -> int:
        """Tokens of a text that a sequence holds at least."""
        return self.rules.pair_body // 2 if role in self.rules.roles.joined else self.rules.body

    def of_source(self, source: MixtureSource) -> ExampleForm:
        """The same for one source of a mixture, which has prefixes of its own."""
        return self.with_prefixes(source.prefixes, f"dataset.select.{source.name}.prefixes")

    def refuse_told_apart(self, roles: Iterable[str]) -> None:
        """Raises UserError where negatives, if they are among the roles that rows have, would be known by the prefix
        that they lack."""
        if self.prefixes.get("positive") and "negatives" in roles and "negatives" not in self.prefixes:
            msg = (
                f"{self.said}.positive is set and {self.said}.negatives is not: negatives would be told from positives "
                f"by that alone\nset {self.said}.negatives too, as a rule to the same text; an empty one says that it "
                "is meant"
            )
            raise UserError(msg)


def _joined(tokenizer: Any, max_seq_length: int) -> dict[str, Any]:
    pair = PairTokens.of(tokenizer)
    room = max_seq_length - pair.count
    if room < 2:
        msg = f"dataset.max_seq_length = {max_seq_length} leaves two texts no room beside {pair.count} special tokens"
        raise UserError(msg)
    return {"pair": pair, "pair_body": room}


@cache
def _warn(key: str, text: str, tokens: str) -> None:
    """Once, however many forms have the prefix."""
    logger.warning("%s = %r: the tokenizer does not know all of it; it reads %s", key, text, tokens)
