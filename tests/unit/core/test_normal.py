"""What may be a normal form of a value, and what is somebody's edit."""

from __future__ import annotations

import pytest

from trueup.core.cells import NULL
from trueup.core.normal import may_be_stored_as


@pytest.mark.parametrize(
    ("given", "shown", "kind"),
    [
        ("Ann Lee", "ANN LEE", "text"),
        ("a long name", "a long", "text"),
        (" x ", "x", "text"),
        ("+44 20 7946 0018", "+442079460018", "text"),
        ("1.25", "1.2", "decimal"),
        ("1.25", "1.3", "decimal"),
        ("", NULL, "text"),
        ("2026-01-05T08:00:00.250000Z", "2026-01-05T08:00:00Z", "datetime"),
        ("7", "7", "integer"),
    ],
)
def test_what_systems_make_of_values(given: str, shown: str, kind: str) -> None:
    assert may_be_stored_as(given, shown, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "shown", "kind"),
    [
        ("Ann", "Bob", "text"),
        ("Ann", "Anna", "text"),
        ("Ann", "", "text"),
        ("Ann", NULL, "text"),
        ("10", "11", "integer"),
        ("1.2", "1.25", "decimal"),
        ("1.25", "1.5", "decimal"),
        ("2026-01-05T08:00:00Z", "2026-01-05T09:00:00Z", "datetime"),
        ("2026-01-05", "2026-01-06", "date"),
        ("Ann", None, "text"),
    ],
)
def test_what_people_type(given: str, shown: str | None, kind: str) -> None:
    assert not may_be_stored_as(given, shown, kind)  # type: ignore[arg-type]
