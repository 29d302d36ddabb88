"""The morning report: it says what the other commands say, one line where nothing is to be done, and goes to everybody once."""

from __future__ import annotations

import copy
import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.docs.json_company import busy_company
from tests.stories.test_alerts import Chat
from tests.system.cli.tool import CONFIG, Ended, Project, company
from trueup.config.load import load_config
from trueup.errors import ConfigError
from trueup.runtime.workspace import open_workspace
from trueup.store import Store
from trueup.store import report as reports

OWNED = CONFIG.replace("    match: [[email]]\n", "    match: [[email]]\n    owner: Head of Sales\n")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = company(tmp_path, OWNED)
    made.trueup("sync").expect(0)
    return made


def others(project: Project) -> dict[str, Any]:
    """What the commands say that a report is a summary of."""
    commands = ("verify", "status", "runs", *QUEUES.values())
    return {command: project.trueup(command, "--json").json for command in commands}


def contradictions(report: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """Where a report says otherwise than the other commands."""
    found = []
    verify, status = there["verify"]["entities"], there["status"]["entities"]
    listed = {kind: there[command] for kind, command in QUEUES.items()}
    runs = {one["run"]: one["status"] for one in there["runs"]}
    for name, entity in report["entities"].items():
        if entity["records"] != verify[name]["records"]:
            found.append(f"{name}: records")
        for system, said in entity["systems"].items():
            there = verify[name]["systems"][system]
            found += [
                f"{name} in {system}: {kind}" for kind in ("rows", "differ", "missing", "extra", "waiting") if said[kind] != there[kind]
            ]
            if (said["checksum"]["agreed"] == said["checksum"]["held"]) != (there["differ"] == 0):
                found.append(f"{name} in {system}: checksum")
            kept = status[name]["systems"][system]
            found += [f"{name} in {system}: {kind}" for kind in ("links", "pending", "failures", "parked") if said[kind] != kept[kind]]
        differences = [(one["system"], one["record"], one["key"], tuple(one["fields"])) for one in entity["differences"]]
        if differences != [(one["system"], one["record"], one["key"], tuple(one["fields"])) for one in verify[name]["differences"]]:
            found.append(f"{name}: differences")
        for kind, queue in listed.items():
            ids = sorted(one["id"] for one in entity["open"] if one["kind"] == kind)
            if ids != sorted(one["id"] for one in queue if one["entity"] == name):
                found.append(f"{name}: {kind}")
    if {one["run"]: one["status"] for one in report["runs"]} != runs:
        found.append("runs")
    return found


QUEUES = {"failure": "failures", "conflict": "conflicts", "parked": "matches", "hold": "holds"}


def test_it_says_what_the_other_commands_say(tmp_path: Path) -> None:
    project = busy_company(tmp_path)
    report = project.trueup("report", "--since", "1d", "--json").expect(3).json
    there = others(project)
    assert contradictions(report, there) == []
    kinds = {one["kind"] for one in report["entities"]["customer"]["open"]}
    assert {"failure", "conflict", "parked"} <= kinds, "the company has something of each"
    assert any(one["differ"] for one in report["entities"]["customer"]["systems"].values())

    def tampered(change: Any) -> list[str]:
        other = copy.deepcopy(report)
        change(other["entities"]["customer"], other)
        return contradictions(other, there)

    assert tampered(lambda entity, _all: entity["open"].pop()) != []
    assert tampered(lambda entity, _all: entity["differences"].pop()) == ["customer: differences"]
    assert tampered(lambda _entity, all_: all_["runs"].pop()) == ["runs"]
    assert tampered(lambda entity, _all: entity["systems"]["crm"].update(rows=1)) == ["customer in crm: rows"]
    assert tampered(lambda entity, _all: entity["systems"]["crm"].update(checksum={"agreed": "1", "held": "1"})) == [
        "customer in crm: checksum"
    ]


def test_nothing_to_do_is_one_line(project: Project) -> None:
    told = project.trueup("report").expect(0).out
    assert re.fullmatch(
        r"Nothing to do: 2 systems agree with 4 records\. Since [^:]+:\d\d:\d\dZ: 4 records moved, 3 rows written, in 1 run\.\n", told
    )
    whole = project.trueup("report", "--all").expect(0).out
    assert whole.startswith("Nothing to do:")
    assert "customer: 4 records (4 new)" in whole
    assert project.trueup("report", "--json").expect(0).json["nothing_to_do"] is True


def edited(project: Project) -> None:
    """A row of the sheet says otherwise than what is agreed, and one cannot be read."""
    project.write(
        "customers.csv", project.read("customers.csv").replace("Cy 👩‍💻", "Somebody else") + "009,=Dot <script>,dot@example.com,lots\n"
    )


def test_what_differs_keeps_its_beginning(project: Project) -> None:
    edited(project)
    first = project.trueup("report", "--json").expect(3).json["entities"]["customer"]
    (one,) = first["differences"]
    assert (one["system"], one["key"], one["fields"]) == ("sheet", "002", ["name"])
    assert one["since"] == first["compared_at"] == first["systems"]["sheet"]["differs_since"]
    with Store.open(str(project.folder / ".trueup/state.db")) as store, store.write() as tx:
        tx.rows("UPDATE difference SET since = since - 86400000000 RETURNING subject")
    again = project.trueup("report", "--json").expect(3).json["entities"]["customer"]["differences"]
    assert again[0]["since"] < one["since"], "it was known yesterday"
    kept = project.trueup("report", "--no-verify", "--json").expect(3).json["entities"]["customer"]
    assert kept["systems"]["sheet"]["differs_since"] == again[0]["since"]
    assert kept["systems"]["sheet"]["differ"] == 1
    project.trueup("sync")
    assert project.trueup("report", "--json").expect(3).json["entities"]["customer"]["differences"] == []
    with Store.open(str(project.folder / ".trueup/state.db")) as store, store.read() as db:
        assert db.rows("SELECT * FROM difference") == [], "what agrees again begins anew"


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "data", "xlink:href"}]

    def handle_data(self, data: str) -> None:
        self.said += data


def test_a_page_and_a_file_of_lines_are_written(project: Project) -> None:
    edited(project)
    project.trueup("sync").expect(3)
    project.write("customers.csv", project.read("customers.csv").replace("Somebody else", "O'Neil שלום <b>"))
    told = project.trueup("report", "--html", "page.html", "--csv", "lines.csv").expect(3).out
    assert "The page is in page.html." in told
    page = Page(project.read("page.html"))
    assert "script" not in page.tags
    assert page.links == [], "nothing is loaded from anywhere"
    assert {"svg", "table", "bdi"} <= set(page.tags)
    assert "@media print" in page.said
    assert "max-width: 40rem" in page.said
    assert "O'Neil" not in page.said, "no value of a record goes around"
    lines = list(csv.DictReader(io.StringIO(project.read("lines.csv").removeprefix("\ufeff"))))
    assert [line["row"] for line in lines if line["kind"] == "differing"] == ["002"]
    assert [line["system"] for line in lines if line["kind"] == "failure"] == ["sheet"]
    assert {line["number"] for line in lines if line["name"] == "records"} == {"4"}
    assert project.files().isdisjoint({name for name in project.files() if ".part" in name})


def test_a_report_that_was_handed_over_is_where_the_next_one_begins(project: Project) -> None:
    project.trueup("report").expect(0)
    assert project.trueup("report", "--json").expect(0).json["because"] == "a day"
    handed = project.trueup("report", "--html", "page.html", "--json").expect(0).json
    assert handed["runs"] != []
    after = project.trueup("report", "--json").expect(0).json
    assert (after["because"], after["since"], after["runs"]) == ("last report", handed["at"], [])
    asked = project.trueup("report", "--since", "2026-01-01", "--json").expect(0).json
    assert (asked["because"], asked["since"]) == ("asked", "2026-01-01T00:00:00Z")


BAD = {
    "--since soon": "this is no moment",
    "--since 2999-01-01": "still to come",
    "--since 99999999d": "this is no moment",
    "--html nowhere/page.html --csv lines.csv": "nowhere/page.html cannot be written",
    "--csv lines.csv --html customers.csv/page.html": "cannot be written",
    "--send": "nobody gets the report",
    "--again": "--again goes with --send",
}


def test_what_cannot_be_is_said_and_nothing_is_half_done(project: Project) -> None:
    before = project.files()
    for words, said in BAD.items():
        assert said in project.trueup("report", *words.split()).expect(2).err
        assert project.files() == before
    assert "No report was handed over" in project.trueup("report", "sent").expect(0).out


def test_before_the_first_sync_and_without_a_system(tmp_path: Path) -> None:
    project = company(tmp_path, OWNED)
    assert "nothing was synced yet" in project.trueup("report").expect(0).out
    assert ".trueup/state.db" not in project.files()
    project.trueup("sync").expect(0)
    (project.folder / "customers.csv").unlink()
    told = project.trueup("report").expect(3).out
    assert "customer in sheet: could not be compared" in told
    assert "(Head of Sales)" in told


# --- sent -------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def chats() -> Any:
    found = [Chat(), Chat()]
    yield found
    for chat in found:
        chat.close()


def sending(folder: Path, chats: list[Chat], plan: str = "at: '00:00'") -> Project:
    addresses = ", ".join(f'"{chat.address}?:n={number}"' for number, chat in enumerate(chats))
    made = company(folder, f"alerts: {{to: {{Head of Sales: [{addresses}]}}}}\nreport: {{{plan}, to: [Head of Sales]}}\n{OWNED}")
    made.trueup("sync").expect(0)
    return made


def told(ended: Ended) -> dict[str, int]:
    return {state: ended.out.count(word) for state, word in (("sent", "): sent"), ("not", "NOT SENT"))}


def test_each_recipient_gets_it_once_and_one_that_bounces_is_tried_again(tmp_path: Path, chats: list[Chat]) -> None:
    project = sending(tmp_path, chats)
    chats[1].status = 500
    first = project.trueup("report", "--send").expect(3)
    assert told(first) == {"sent": 1, "not": 1}
    assert "Head of Sales, address 2 (json://…): NOT SENT (waiting)" in first.out
    assert (len(chats[0].messages), len(chats[1].messages)) == (1, 0)
    (message,) = chats[0].messages
    assert message["title"].startswith("trueup: nothing to do, ")
    assert message["message"].startswith("Nothing to do: 2 systems agree with 4 records.")
    assert [one["filename"].rpartition(".")[2] for one in message["attachments"]] == ["html", "csv"]
    project.trueup("report", "--send").expect(3)
    chats[1].status = 200
    assert told(project.trueup("report", "--send").expect(0)) == {"sent": 1, "not": 0}
    done = project.trueup("report", "--send").expect(0)
    assert "was made already" in done.out
    assert (len(chats[0].messages), len(chats[1].messages)) == (1, 1)
    assert chats[0].messages[0]["message"] == chats[1].messages[0]["message"], "it is the same report"
    (kept,) = project.trueup("report", "sent", "--json").expect(0).json
    assert sorted(copy["attempts"] for copy in kept["copies"]) == [1, 3]
    project.trueup("report", "--send", "--again").expect(0)
    assert (len(chats[0].messages), len(chats[1].messages)) == (2, 2)
    assert "s3" not in project.trueup("report", "sent").expect(0).out


@pytest.mark.slow
def test_one_that_did_not_reach_everybody_by_its_hour_is_told_where_no_server_runs(tmp_path: Path, chats: list[Chat]) -> None:
    """By a command of its own for timers, by `doctor` and by `check`; never before it could have been made, and not within half an hour."""
    now = datetime.now(UTC)
    project = sending(tmp_path, chats, f"at: '{now - timedelta(hours=2):%H:%M}'")
    assert "or none is due yet" in project.trueup("report", "late").expect(0).out, "nothing was synced when it was due"
    with Store.open(str(tmp_path / ".trueup/state.db")) as store, store.write() as tx:
        yesterday = now - timedelta(days=1, hours=2)
        reports.keep(tx, at=yesterday, since=yesterday, due_at=yesterday, title="", counts={}, content=None, recipients=[])

    ended = project.trueup("report", "late").expect(3)
    assert ended.out == ""
    assert "was not made: look whether `trueup serve` runs" in ended.err
    assert project.trueup("report", "late", "--json").expect(3).json["lacking"] is None
    assert "was not made" in project.trueup("check").expect(0).out
    assert "was not made" in project.trueup("doctor").expect(3).out

    chats[1].status = 500
    project.trueup("report", "--send").expect(3)
    said = project.trueup("report", "late", "--json").expect(3).json
    assert said["late"] is True
    assert said["lacking"] == ["Head of Sales, address 2 (json://…)"]
    assert "has not reached Head of Sales, address 2" in project.trueup("doctor").expect(3).out
    chats[1].status = 200
    project.trueup("report", "--send").expect(0)
    assert project.trueup("report", "late", "--json").expect(0).json == {"late": False, "since": None, "lacking": None}
    assert "has not reached" not in project.trueup("check").expect(0).out


def test_one_that_is_not_long_late_is_not_told(tmp_path: Path, chats: list[Chat]) -> None:
    now = datetime.now(UTC)
    project = sending(tmp_path, chats[:1], f"at: '{now - timedelta(minutes=5):%H:%M}'")
    with Store.open(str(tmp_path / ".trueup/state.db")) as store, store.write() as tx:
        yesterday = now - timedelta(days=1, minutes=4)
        reports.keep(tx, at=yesterday, since=yesterday, due_at=yesterday, title="", counts={}, content=None, recipients=[])
    project.trueup("report", "late").expect(0)
    text = project.read("trueup.yaml")
    project.write("trueup.yaml", text.replace("alerts: {", "alerts: {rules: {report_late: 1m}, "))
    project.trueup("report", "late").expect(3)
    project.write("trueup.yaml", text.replace("alerts: {", "alerts: {rules: {report_late: off}, "))
    assert "`report_late` is off" in project.trueup("report", "late").expect(2).err
    project.write("trueup.yaml", text.replace("report: {at: ", "report: {to: [Head of Sales]} # ", 1))
    assert "no report is due at any hour" in project.trueup("report", "late").expect(2).err


@pytest.mark.slow
def test_a_copy_of_which_nobody_knows_is_not_sent_again(tmp_path: Path, chats: list[Chat]) -> None:
    project = sending(tmp_path, chats[:1])
    chats[0].status = 500
    project.trueup("report", "--send").expect(3)
    with Store.open(str(tmp_path / ".trueup/state.db")) as store, store.write() as tx:
        tx.rows("UPDATE report_copy SET state = 'sending', tried_at = tried_at - 3600000000 RETURNING report")
    chats[0].status = 200
    ended = project.trueup("report", "--send").expect(3)
    assert "NOT SENT (unknown): whoever sent it ended before its end" in ended.out
    assert chats[0].messages == []
    project.trueup("report", "--send").expect(0)
    with Store.open(str(tmp_path / ".trueup/state.db")) as store, store.read() as db:
        assert db.rows("SELECT count(*) FROM report WHERE page IS NOT NULL") == [(0,)], "nothing is kept for longer than needed"


@pytest.mark.slow
def test_an_address_that_is_gone_gets_nothing(tmp_path: Path, chats: list[Chat]) -> None:
    project = sending(tmp_path, chats[:1])
    chats[0].status = 500
    project.trueup("report", "--send").expect(3)
    chats[0].status = 200
    project.write("trueup.yaml", project.read("trueup.yaml").replace(chats[0].address, chats[1].address))
    ended = project.trueup("report", "--send").expect(3)
    assert "Head of Sales: NOT SENT (given up): it is configured no more" in ended.out
    assert chats[0].messages == chats[1].messages == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("report: {at: '06:30'}\n", "nobody can be sent the report"),
        ("alerts: {to: {default: 'json://x/'}}\nreport: {to: [defualt]}\n", "did you mean `default`?"),
        ("alerts: {to: {default: 'json://x/'}}\nreport: {days: mon}\n", "`days` goes with `at`"),
        ("alerts: {to: {default: 'json://x/'}}\nreport: {at: 25}\n", "not a time of day"),
    ],
)
def test_a_plan_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "trueup.yaml").write_text(text + CONFIG, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config(tmp_path / "trueup.yaml", {})


@pytest.mark.slow
def test_with_a_state_in_postgresql(tmp_path: Path, postgres_url: str, chats: list[Chat]) -> None:
    project = sending(tmp_path, chats, "at: '00:00'")
    project.write("trueup.yaml", f"state: {postgres_url}\n{project.read('trueup.yaml')}")
    project.trueup("sync").expect(0)
    edited(project)
    first = project.trueup("report", "--json").expect(3).json["entities"]["customer"]["differences"]
    again = project.trueup("report", "--json").expect(3).json["entities"]["customer"]["differences"]
    assert again == first != []
    assert told(project.trueup("report", "--send").expect(3)) == {"sent": 2, "not": 0}
    assert "was made already" in project.trueup("report", "--send").expect(0).out
    assert [len(chat.messages) for chat in chats] == [1, 1]


def test_a_workspace_reports_too(project: Project) -> None:
    with open_workspace(project.folder / "trueup.yaml") as workspace:
        report = workspace.report()
    assert report.entities["customer"].differences == 0
    assert {name: side.rows for name, side in report.entities["customer"].compared.items()} == {"crm": 4, "sheet": 4}
