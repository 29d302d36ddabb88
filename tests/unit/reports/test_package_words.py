"""What people are told of packages that came."""

from __future__ import annotations

from typing import Any

import pytest

from trueup.reports.package_words import imported_text


@pytest.mark.parametrize("ending", ["", ".zip", ".zip.sealed"])
@pytest.mark.parametrize(
    ("kind", "why", "then"),
    [
        ("missing", "invoice-000002 never came, and invoice-000003 is there", "; `trueup import … --next 3` goes on without it"),
        ("half-copied", "invoice.csv has 40 of 92 bytes", ""),
    ],
)
def test_a_package_that_waits_says_why_and_how_it_goes_on(kind: str, why: str, then: str, ending: str) -> None:
    package: dict[str, Any] = {"package": f"invoice-000003{ending}", "status": "waits", "kind": kind, "why": why}
    said = imported_text([{"entity": "invoice", "system": "sales", "packages": [package], "late": None, "last": "invoice-000001"}])
    assert said.startswith(f"! invoice-000003{ending}: waits, {kind} (")
    assert said.endswith(f"): {why}{then}")
