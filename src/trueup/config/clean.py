"""Cleaning steps of a configuration, against those that the core knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.config.suggest import did_you_mean, listing
from trueup.core.clean import STEPS, step_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.config.report import Report
    from trueup.model import CleanStep, FieldType
    from trueup.yamlfile import YamlPath


def check_steps(steps: Sequence[CleanStep], field_type: FieldType, path: YamlPath, report: Report) -> None:
    """Each step must be known, fit the type, and have an argument exactly where it takes one."""
    for number, step in enumerate(steps):
        fitting = [name for name, info in STEPS.items() if field_type in info.applies_to]
        hint = listing(f"steps for {field_type}", fitting) if fitting else "cleaning is for text and lists"
        if step.name not in STEPS:
            report.add((*path, number), f"unknown cleaning step `{step.name}`{did_you_mean(step.name, STEPS)}", hint)
            continue
        problem = step_problem(step, field_type)
        if problem is not None:
            report.add((*path, number), problem, hint, unless=[(*path[:-1], "type")])
