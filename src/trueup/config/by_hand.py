"""What people do by hand, and the report that they read: from shape to model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.model import Manual, ReportPlan, Step, When

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.config.report import Report
    from trueup.config.schema_by_hand import ManualShape, ReportShape

LONGEST_NAME = 80


def build_manual(shapes: Mapping[str, ManualShape], report: Report) -> dict[str, Manual]:
    """All processes, in the order of the file; names that cannot be shown on a line are reported."""
    for name in shapes:
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            report.add(("manual", name), "this cannot name a process", f"use at most {LONGEST_NAME} signs, on one line")
    return {name: _manual(name, shape) for name, shape in shapes.items()}


def _manual(name: str, shape: ManualShape) -> Manual:
    return Manual(
        name=name,
        every=shape.every,
        steps=tuple(Step(step.do, step.paste, step.minutes) for step in shape.steps),
        owner=shape.owner,
        stand_in=shape.stand_in,
        checked_by=shape.checked_by,
        what=shape.what,
        source=shape.from_,
        to=shape.to,
        checks=shape.checks,
        minutes=shape.minutes,
    )


def build_report(shape: ReportShape | None, channels: Mapping[str, object], report: Report) -> ReportPlan | None:
    """The report; who is to get it and has no address is reported. None where nothing is said of it."""
    if shape is None:
        return None
    for name in dict.fromkeys(shape.to):
        if name in channels or any(report.is_broken(path) for path in (("alerts", "to"), ("report", "to"))):
            continue
        if not channels:
            report.add(("report",), "nobody can be sent the report: no address is known", "add `alerts: {to: {default: ADDRESS}}`")
            break
        report.unknown(("report", "to"), "recipient", name, "the report", channels)
    if shape.days is not None and shape.at is None:
        report.add(("report", "days"), "`days` goes with `at`", 'say the hour: at: "06:30"')
    due = None if shape.at is None else When(kind="at", at=shape.at, days=shape.days or tuple(range(7)), timezone=shape.timezone)
    return ReportPlan(due=due, timezone=shape.timezone, to=tuple(dict.fromkeys(shape.to)), attach=shape.attach)
