"""The morning report in its forms, from facts made up here: what is counted, what is told to whom, and what never leaves."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta

from trueup.reports.by_hand_facts import Due
from trueup.reports.morning_facts import Day, Differing, EntityMorning, Firing, Morning, Moved, Open, RunLine, SystemMoved
from trueup.reports.morning_lines import morning_lines
from trueup.reports.morning_page import morning_page
from trueup.reports.morning_words import headline, message, morning_text, needs, title
from trueup.reports.standing import EntityStanding, SystemStanding
from trueup.reports.verify_facts import SystemAgreement

NOW = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
BEFORE = NOW - timedelta(days=2)
KEY = "=cmd|' /C calc'!A0 <b> שלום"


def quiet() -> Morning:
    """Two systems that agree, after a run that wrote three rows and could not write two."""
    moved = Moved(created=2, updated=1, systems={"crm": SystemMoved(), "shop": SystemMoved()})
    moved.systems["shop"].written |= {"created": 2, "updated": 1, "failed": 2}
    entity = EntityMorning(
        EntityStanding(total=5, systems={"crm": SystemStanding(links=5), "shop": SystemStanding(links=5)}),
        owner="Head of O'Sales",
        moved=moved,
        compared_at=NOW,
        compared={name: SystemAgreement(rows=5, compared=5, agreed=7, held=7) for name in ("crm", "shop")},
        days=[Day(date(2026, 11, 19)), Day(date(2026, 11, 20), moved=3, written=3, failed=2, waiting=0, differing=0)],
    )
    run = RunLine(1, "sync", "done", NOW, 1.0, None)
    return Morning(NOW, NOW - timedelta(days=1), "a day", entities={"customer <i>": entity}, runs=[run])


def busy() -> Morning:
    """The same, with something of everything."""
    report = quiet()
    entity = report.entities["customer <i>"]
    entity.compared["shop"] = SystemAgreement(rows=5, differ=1, extra=1, compared=5, agreed=7, held=9)
    entity.differing = [
        Differing("shop", "differ", 4, KEY, ("name",), BEFORE),
        Differing("shop", "extra", None, KEY, (), NOW),
    ]
    entity.differs_since = {"shop": BEFORE}
    entity.open = [
        Open("failure", 3, "shop", KEY, None, "credit", "credit: it is no number", BEFORE),
        Open("conflict", 9, None, None, 2, "name", "systems say different things", NOW),
    ]
    entity.standing.failures, entity.standing.conflicts = 1, 1
    report.firing = [Firing("crm does not answer", BEFORE, "IT")]
    report.due_by_hand = [Due("prices", "Office", None, BEFORE, BEFORE - timedelta(days=7), 172_800.0, 20.0, ("Copy",))]
    report.runs.append(RunLine(2, "sync", "failed", NOW, None, "no system can be reached"))
    return report


def test_what_could_not_be_written_is_not_counted_as_written() -> None:
    said = headline(quiet())
    assert said == "Nothing to do: 2 systems agree with 5 records. Since 2026-11-19 06:30:00Z: 3 records moved, 3 rows written, in 1 run."
    assert title(quiet()) == "trueup: nothing to do, 2026-11-20"
    assert morning_text(quiet()) == said


def test_everything_that_needs_a_person_is_told_with_its_owner_and_its_beginning() -> None:
    found = [(need.what.partition(": ")[2] or need.what, need.owner, need.since) for need in needs(busy())]
    assert found == [
        ("1 record differs, 1 orphan (a row of no record)", "Head of O'Sales", BEFORE),
        ("1 record could not be read or written", "Head of O'Sales", BEFORE),
        ("1 conflict to settle", "Head of O'Sales", NOW),
        ("crm does not answer", "IT", BEFORE),
        ("no system can be reached", None, NOW),
        ("prices, due since 2026-11-18 06:30:00Z", "Office", BEFORE),
    ]
    assert title(busy()) == "trueup: 6 things to do, 2026-11-20"
    assert busy().urgent
    assert not quiet().urgent


def test_a_message_has_no_key_of_a_record() -> None:
    said = message(busy(), "trueup.yaml")
    assert "calc" not in said
    assert "shop: 5 rows, 1 record differs, 1 orphan (a row of no record)" in said
    assert said.endswith("-- trueup.yaml")


def test_no_cell_of_the_lines_is_a_formula() -> None:
    lines = list(csv.DictReader(io.StringIO(morning_lines(busy()))))
    assert [line["row"] for line in lines if line["kind"] == "differing"] == ["'" + KEY] * 2
    assert not [cell for line in lines for cell in line.values() if cell.startswith(("=", "+", "-", "@"))]
    assert {line["number"] for line in lines if line["name"] == "written failed" and line["system"] == "shop"} == {"2"}
    sums = {line["name"]: line["what"] for line in lines if line["kind"] == "checksum" and line["system"] == "shop"}
    assert sums == {"agreed": f"{7:016x}", "held": f"{9:016x}"}


def test_the_page_shows_all_of_it_and_means_none_of_it() -> None:
    page = morning_page(busy())
    for said in (
        "6 things to do",
        "customer &lt;i&gt;",
        "Head of O&#x27;Sales",
        "calc&#x27;!A0 &lt;b&gt; שלום",
        "no system can be reached",
        "prices",
    ):
        assert said in page
    assert "<i>" not in page
    assert page.count("<svg") == 1, "what has no value in any day has no chart"
