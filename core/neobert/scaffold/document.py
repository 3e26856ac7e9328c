"""What docs/plugins/KIND.md takes from the code: ``python -m neobert.scaffold.document docs/plugins``.

Between marks stand the kind's interface, the files that `--new-plugin` writes as a worked example, and its conformance
suite; the rest of a page is left as it is.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path, PurePosixPath
from types import ModuleType

from neobert import hookspecs, interfaces
from neobert.kinds import KINDS, Kind
from neobert.recipe.document import replaced
from neobert.scaffold.names import Names, names_for
from neobert.scaffold.render import module_of, rendered

EXAMPLES = {
    "dataset": "markdown-sections",
    "tokenizer": "byte-tokens",
    "datacollator": "span-masking",
    "model": "parallel-blocks",
    "attn_backend": "soft-cap",
    "loss": "poly-loss",
    "optimizer": "lion",
    "scheduler": "warm-restarts",
    "checkpointer": "compressed",
    "tracker": "metrics-table",
}
"""What the worked example of each kind is called."""


def page(text: str, kind: Kind) -> str:
    """A page with what it takes from the code brought up to date."""
    import neobert.testing

    names = names_for(EXAMPLES[kind.name])
    files = rendered(names, kind.name)
    text = replaced(text, "\n\n".join(_interface(kind)), "interface")
    text = replaced(text, "\n\n".join(_example(names, kind, files)), "example")
    return replaced(text, "\n\n".join(_suite(kind, files, neobert.testing)), "suite")


def interface_of(kind: Kind) -> type | None:
    """The Protocol of `neobert.interfaces` that the hook's specification speaks of; None where there is none."""
    said = re.findall(r"`(\w+)`", inspect.getdoc(getattr(hookspecs, kind.hook)) or "")
    return next((vars(interfaces)[name] for name in said if inspect.isclass(vars(interfaces).get(name))), None)


def _interface(kind: Kind) -> list[str]:
    said = inspect.getdoc(getattr(hookspecs, kind.hook))
    blocks = [f"Hook `{kind.hook}()`. {said}"]
    protocol = interface_of(kind)
    if protocol is not None:
        blocks += ["`neobert/interfaces.py` has it so:", _code(inspect.getsource(protocol))]
    if kind.served is not None:
        blocks.append(
            f"Keys of the table that the core serves, so that no options class may have them: "
            f"{', '.join(f'`{name}`' for name in _fields(kind.served))}."
        )
    return blocks


def _fields(cls: type) -> list[str]:
    from neobert.describe import describe_fields

    return [described.name for described in describe_fields(cls)]


def _example(names: Names, kind: Kind, files: dict[PurePosixPath, str]) -> list[str]:
    command = f"neobert-run --new-plugin {names.distribution} --kind {kind.name}"
    source = PurePosixPath("src", names.package)
    shown = [source / "plugin.py", source / f"{module_of(kind.name)}.py"]
    blocks = [f"```bash\n{command}\n```"]
    for path in shown:
        blocks += [f"`{path}`:", _code(files[path])]
    return blocks


def _suite(kind: Kind, files: dict[PurePosixPath, str], testing: ModuleType) -> list[str]:
    check = getattr(testing, f"check_{kind.name}")
    signature = inspect.signature(check).replace(return_annotation=inspect.Signature.empty)
    plain = re.sub(r": '([^']*)'", r": \1", str(signature))
    return [
        _code(f"{check.__name__}{plain}"),
        inspect.getdoc(check) or "",
        "`tests/test_plugin.py` of the example runs it, and tests what this plugin promises beyond it:",
        _code(files[PurePosixPath("tests/test_plugin.py")]),
    ]


def _code(text: str) -> str:
    return f"```python notest\n{text.strip()}\n```"


def main(arguments: list[str]) -> None:
    """Rewrites the pages in the folder named."""
    (folder,) = map(Path, arguments)
    for kind in KINDS.values():
        path = folder / f"{kind.name}.md"
        path.write_text(page(path.read_text(encoding="utf-8"), kind), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
