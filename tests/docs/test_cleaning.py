"""The page on cleaning tells of every step what the step does, with the example that is tested elsewhere."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from trueup.core.clean import STEPS, CleanStepInfo

PAGE = Path(__file__).parents[2] / "docs" / "cleaning.md"


def shown(text: str | None) -> str:
    """A value in a table; what nobody would see is spelled out."""
    if text is None:
        return "nothing"
    seen = "".join(f"\\u{ord(char):04x}" if not char.isprintable() or unicodedata.combining(char) else char for char in text)
    return f"`{seen}`" if seen.strip() == seen and seen else f"`\u201c{seen}\u201d`"


def row(name: str, info: CleanStepInfo) -> str:
    """The row of one step."""
    written = f"{{{name}: {info.argument}}}" if info.argument else name
    before, after = info.example
    return f"| `{written}` | {info.help} | {shown(before)} | {shown(after)} |"


def test_every_step_stands_in_the_table_as_the_code_has_it():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `")] == [row(name, info) for name, info in STEPS.items()]
