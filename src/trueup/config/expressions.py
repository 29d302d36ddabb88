"""Expressions of a configuration: read by the core's own reader, so that only row-wise functions pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.core.expressions import parse_expression

if TYPE_CHECKING:
    from collections.abc import Collection

    from trueup.config.report import Report
    from trueup.yamlfile import YamlPath


def check_expression(text: str, path: YamlPath, report: Report, names: Collection[str] | None) -> tuple[str, ...]:
    """The names that an expression uses; none where it cannot be read, which is reported. `names` are those that exist; None: any."""
    try:
        return parse_expression(text, names).names
    except ValueError as error:
        report.add(path, str(error), "an expression looks at one row: columns, constants, operators and row-wise functions")
        return ()
