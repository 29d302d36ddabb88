"""Expressions of a configuration: read by the core's own reader, so that only row-wise functions pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.config.suggest import did_you_mean, listing
from trueup.core.expressions import parse_expression

if TYPE_CHECKING:
    from collections.abc import Collection

    from trueup.config.report import Report
    from trueup.yamlfile import YamlPath


MAX_LENGTH = 10_000  # a sum of some 20,000 terms overflows the stack inside Polars, which would end the whole process


def check_expression(text: str, path: YamlPath, report: Report, names: Collection[str] | None) -> None:
    """An expression must be readable and use only names that exist. `names` are those; None: any (columns are compared by `check`)."""
    if len(text) > MAX_LENGTH:
        report.add(
            path, f"an expression has at most {MAX_LENGTH:,} characters, this one {len(text):,}", "compute it in a view of the system"
        )
        return
    try:
        used = parse_expression(text).names
    except ValueError as error:
        report.add(path, str(error), "an expression looks at one row: columns, constants, operators and row-wise functions")
        return
    unknown = [name for name in used if names is not None and name not in names]
    if unknown and names is not None:
        meant = "; ".join(f"unknown name `{name}` in this expression{did_you_mean(name, names)}" for name in unknown)
        report.add(path, meant, listing("known here", names))
