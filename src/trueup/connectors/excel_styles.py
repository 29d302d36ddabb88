"""Cell styles of a workbook, as far as they tell what a number means: per style number, what its number format shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.connectors.excel_values import Look, look_of

if TYPE_CHECKING:
    from trueup.connectors.excel_package import Package


def looks(package: Package) -> list[Look]:
    """What each cell style (by its number) makes of a number; at least one. Raises ObjectUnreadableError."""
    if package.styles_part is None or not package.has(package.styles_part):
        return [Look.GENERAL]
    root = package.tree(package.styles_part)
    codes = {entry.get("numFmtId", ""): entry.get("formatCode", "") for entry in root.iterfind("{*}numFmts/{*}numFmt")}
    found = []
    for style in root.iterfind("{*}cellXfs/{*}xf"):
        identity = style.get("numFmtId", "0")
        found.append(look_of(int(identity) if identity.isdigit() else 0, codes.get(identity)))
    return found or [Look.GENERAL]
