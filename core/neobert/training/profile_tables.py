"""A profile as people read it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neobert.training.phases import ORDER
from neobert.training.profile import Profile


def show_profile(profile: Profile, console: Console) -> None:
    """Phases, operators, and where the trace is."""
    per_step = profile.seconds / profile.steps
    console.print(_phases(profile))
    console.print(_operators(profile))
    lines = (
        f"{profile.steps} steps of {per_step * 1e3:,.1f} ms, {profile.tokens / profile.seconds:,.0f} tokens/s "
        "(the profiler itself slows a step a little)",
        f"peak memory {profile.peak_bytes / 2**30:.2f} GiB",
        f"trace {profile.trace} (open it in https://ui.perfetto.dev or chrome://tracing)",
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _phases(profile: Profile) -> Table:
    table = Table(title="where a step's time goes", title_justify="left")
    table.add_column("phase", no_wrap=True)
    table.add_column("ms a step", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for name in ORDER:
        if name in profile.phases:
            seconds = profile.phases[name]
            table.add_row(name, f"{seconds / profile.steps * 1e3:,.2f}", f"{seconds / profile.seconds:.1%}")
    return table


def _operators(profile: Profile) -> Table:
    table = Table(title="operators, by their own time", title_justify="left")
    table.add_column("operator", overflow="fold")
    table.add_column("calls a step", justify="right", no_wrap=True)
    table.add_column("ms a step", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for operator in profile.operators:
        milliseconds = operator.milliseconds / profile.steps
        share = operator.milliseconds / 1e3 / profile.seconds
        table.add_row(
            Text(operator.name), f"{operator.calls / profile.steps:,.1f}", f"{milliseconds:,.2f}", f"{share:.1%}"
        )
    return table
