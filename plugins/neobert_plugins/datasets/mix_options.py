"""Options of the dataset that mixes others."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import and_, deep_mapping, ge, gt, instance_of, lt, optional

from neobert import Mixture, MixtureSource, Part, Roles, UserError, part
from neobert.roles import roles_of, selection_faults

if TYPE_CHECKING:
    from neobert.context import BuildContext

UNKNOWN_SIZE = (
    "how large a stream is, only reading it tells, so a mixture with one needs dataset.weights: one for each source"
)


@frozen(kw_only=True)
class Selection:
    """What is taken of one source."""

    min_length: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "leave out training documents of fewer tokens (special tokens not counted)"},
    )
    max_length: int | None = field(
        default=None, validator=optional(ge(1)), metadata={"help": "leave out training documents of more tokens"}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "column with the text; unset: the only string column, else `text`"}
    )
    role_columns: dict[str, str] = field(
        factory=dict,
        metadata={"help": "for a datacollator with roles: role -> column; unset: columns named like the roles"},
    )
    role_prefixes: dict[str, str] = field(
        factory=dict, metadata={"help": "for a datacollator with roles: role -> text put before each text of it"}
    )
    train_split: str = field(default="train", metadata={"help": "split to train on; slices such as `train[:90%]` too"})
    eval_split: str | None = field(
        default=None, metadata={"help": "split to evaluate on; unset: one named validation, eval, test or dev"}
    )
    eval_samples: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "rows to evaluate on; with no eval split, its first training rows, never trained on"},
    )
    validation_split: float | None = field(
        default=None,
        validator=optional(and_(gt(0.0), lt(1.0))),
        metadata={"help": "share of its training rows to reserve for evaluation where it has no eval split"},
    )
    evaluate: bool = field(
        default=True,
        metadata={
            "help": "false: its evaluation rows are kept out of training and not evaluated on, as those of another "
            "source are the same"
        },
    )
    on_damaged_row: Literal["skip", "stop"] = field(
        default="skip",
        metadata={"help": "a row that cannot be read: skip names and counts it, and stops where half of them are such"},
    )


@frozen(kw_only=True)
class Mix:
    """Several datasets, mixed in exact proportions of tokens."""

    sources: dict[str, Part] = part("dataset", help="name -> any dataset")
    weights: dict[str, float] = field(
        factory=dict,
        validator=deep_mapping(key_validator=instance_of(str), value_validator=gt(0.0)),
        metadata={"help": "name -> its part of the tokens trained on, relative to the others'; unset: by size"},
    )
    alpha: float = field(
        default=1.0,
        validator=ge(0.0),
        metadata={"help": "without weights, n tokens weigh n ** alpha: 1 is by size, 0 all alike, 0.3 lifts the small"},
    )
    select: dict[str, Selection] = field(
        factory=dict,
        metadata={"help": "name -> what is taken of it"},
    )
    when_exhausted: Literal["repeat", "stop"] = field(
        default="repeat",
        metadata={"help": "a source that was read through is read again in another order, or the run ends there"},
    )
    one_source_a_batch: bool = field(
        default=False, metadata={"help": "each micro-batch has sequences, or examples, of one source"}
    )

    def build(self, context: BuildContext) -> dict[str, Any]:
        """``train``, and ``eval`` where any source has rows to evaluate on; with a column that numbers the sources."""
        from neobert_plugins.datasets.mix import read

        return read(self, context)

    def mixture(self) -> Mixture:
        """How the core mixes the rows. Raises UserError for names that contradict each other."""
        problems = self._problems()
        if problems:
            raise UserError("\n".join(f"dataset.{problem}" for problem in problems))
        return Mixture(
            sources=tuple(self._source(name) for name in self.sources),
            alpha=self.alpha,
            when_exhausted=self.when_exhausted,
            one_source_a_batch=self.one_source_a_batch,
        )

    def check(self, recipe: Any) -> list[str]:
        """Names that no source has; keys of the whole table that are each source's own here."""
        problems = self._problems()
        keys: dict[str, Any] = dict.fromkeys(("text_column", "eval_samples", "eval_split"))
        keys |= {"train_split": "train", "on_damaged_row": "skip", "role_columns": {}, "role_prefixes": {}}
        served = recipe.dataset.served
        if recipe.dataset.options is self:
            for key, default in keys.items():
                if getattr(served, key) != default:
                    said = f"{key}.{next(iter(getattr(served, key)))}" if default == {} else key
                    problems.append(f"{said}: a mixture has it for each source: dataset.select.NAME.{key}")
            if served.shard_streams_by != "row":
                problems.append(
                    "shard_streams_by: a mixture's shares hold for all ranks together, so each reads all of its "
                    'streams: "row" is all that a mixture takes'
                )
            problems += self._role_problems(roles_of(recipe.datacollator.options))
        for name, source in self.sources.items():
            if callable(getattr(source.options, "mixture", None)):
                problems.append(f"sources.{name}.name: a mixture is no source of another: name its sources here")
            if getattr(source.options, "streaming", False) is True and not self.weights:
                problems.append(f"sources.{name}.streaming: {UNKNOWN_SIZE}")
        return problems

    def _role_problems(self, roles: Roles | None) -> list[str]:
        """Columns and prefixes that the datacollator has no role for."""
        problems = []
        for name, selection in self.select.items():
            for key, why in selection_faults(
                selection.role_columns, selection.role_prefixes, selection.text_column, roles
            ):
                problems.append(f"select.{name}.{key}: {why}")
        return problems

    def _problems(self) -> list[str]:
        problems = [] if self.sources else ["sources: a mixture needs a source"]
        for table in ("weights", "select"):
            for name in getattr(self, table):
                if name not in self.sources:
                    close = get_close_matches(name, self.sources, n=1)
                    hint = f'; did you mean "{close[0]}"?' if close else ""
                    problems.append(
                        f"{table}.{name}: no source has this name{hint}\nsources: {', '.join(self.sources)}"
                    )
        for name in self.sources:
            if self.weights and name not in self.weights:
                problems.append(f"sources.{name}.name: dataset.weights has none for it: give every source one, or none")
        if self.weights and self.alpha != 1.0:
            problems.append("alpha: it tempers sizes, and weights are given: leave one of them out")
        return problems

    def _source(self, name: str) -> MixtureSource:
        selection = self.select.get(name, Selection())
        return MixtureSource(
            name=name,
            weight=self.weights.get(name),
            min_length=selection.min_length,
            max_length=selection.max_length,
            on_damaged_row=selection.on_damaged_row,
            prefixes=selection.role_prefixes,
        )
