"""``--audit-data STEPS``: walks a recipe's plan without training, and says whether it does what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert.commands.data_part import data_part
from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """0 where every token comes once in each completed epoch and no evaluation document is trained on, else 1."""
    value = str(arguments.value("--audit-data"))
    if not value.isdecimal() or int(value) < 1:
        msg = f"--audit-data {value}: expected how many steps, 1 or more"
        raise UserError(msg)

    from neobert.data.audit import audit

    with data_part(arguments) as (_, data):
        audits = {name: audit(own.own_data, own.evaluation_data, int(value)) for name, own in data.each.items()}
    for name, found in audits.items():
        if name:
            print(f"objective {name}")
        for fact in found.facts:
            print(fact)
        for fault in found.faults:
            print(f"FAULT: {fault}")
    wrong = any(found.faults for found in audits.values())
    print("the data is not as promised" if wrong else "every token came as often as it should")
    return 1 if wrong else 0
