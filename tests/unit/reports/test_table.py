"""Tables for people: aligned whatever the script, cut where they must be, and harmless whatever a value holds."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from rich.cells import cell_len

from trueup.reports.table import Style, clip, duration, show, table

HEBREW = "\u05e9\u05dc\u05d5\u05dd"


def test_columns_are_aligned_by_the_room_that_text_takes():
    text = table(("name", "n"), [["Ada", 1], ["日本語", 12], ["👩‍💻", 1000]])
    head, *rows = text.splitlines()
    assert head == "name       n"
    assert {cell_len(row) for row in rows} == {cell_len(head)}
    assert not any(line.endswith(" ") for line in [head, *rows])


def test_no_rows_are_no_table():
    assert table(("a", "b"), []) == ""


def test_nothing_but_a_terminal_gets_colours_and_isolates():
    rows = [[HEBREW, "x"]]
    assert "\x1b" not in table(("a", "b"), rows)
    assert "\u2068" not in table(("a", "b"), rows)
    coloured = table(("a", "b"), rows, Style(colour=True, width=80))
    assert coloured.startswith("\x1b[1m")
    assert f"\u2068{HEBREW}\u2069" in coloured


def test_a_table_fits_its_terminal():
    rows = [["short", "word " * 30, "ü" * 50]]
    lines = table(("a", "b", "c"), rows, Style(width=60)).splitlines()
    assert all(cell_len(line) <= 60 for line in lines)
    assert "short" in lines[1]
    assert lines[1].count("…") == 2


def test_an_open_end_is_shown_whole():
    lines = table(("a", "why"), [["x" * 80, "because " * 20 + "end"]], Style(width=60), open_end=True).splitlines()
    assert lines[1].endswith("because end")
    assert "…" in lines[1]


def test_a_value_cannot_steer_the_terminal():
    assert show("a\x1b[31mred\x07\r\n\u202eb") == "a\\u001b[31mred\\u0007\\u000d⏎\\u202eb"
    assert show("👩‍💻") == "👩‍💻"


def test_values_are_shown_as_they_are_meant():
    shown = [
        show(value)
        for value in (None, "", True, False, 0, Decimal("1.50"), ["a", None], {"a": 1}, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    ]
    assert shown == ["∅", "", "yes", "no", "0", "1.50", "a; ∅", '{"a":1}', "2026-01-02 03:04:05Z"]


def test_cutting_counts_cells():
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert cell_len(clip("日本語日本語", 6)) <= 6


def test_lengths_of_time():
    assert [duration(seconds) for seconds in (None, 0.04, 9.94, 119, 600, 7200, 200_000)] == [
        "–",
        "0.0 s",
        "9.9 s",
        "119 s",
        "10 min",
        "2 h",
        "2 d",
    ]
