"""`trueup audit`: the trail as users see it."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

import trueup
from tests.system.cli.tool import CONFIG, PEOPLE, Project, command, company, environment
from trueup.cli.arguments import without_values
from trueup.cli.main import app
from trueup.errors import StateError
from trueup.store import Store, audit

MARK = "zqx-marker"


def lines_of(project: Project, *args: str) -> list[dict]:
    told: list[dict] = project.trueup("audit", "--json", "--limit", "10000", *args).expect(0).json
    return told


def commands_told(project: Project) -> list[str]:
    return [line["what"]["command"] for line in reversed(lines_of(project, "--kind", "command"))]


def test_before_the_first_sync_there_is_no_trail(tmp_path):
    project = company(tmp_path)
    assert "no such lines" in project.trueup("audit").expect(0).out
    assert "run `trueup sync` first" in project.trueup("audit", "verify").expect(1).err
    assert project.trueup("drift", "--json").expect(0).json["audit"] is None
    assert not (tmp_path / ".trueup").exists()


SHOW = (
    ("record", "customer", "crm:1"), ("explain", "customer", "crm:1"), ("sql", "SELECT 1"), ("plan",), ("drift",), ("check",), ("verify",),
    ("conflicts",), ("matches",), ("failures",), ("profile",), ("dedupe", "customer"), ("packages",), ("report",),
)  # fmt: skip
QUIET = (
    ("status",), ("runs",), ("run", "1"), ("holds",), ("notices",), ("alerts",), ("doctor",), ("audit",), ("audit", "verify"), ("schema",),
    ("lock",), ("runbook", "--print"), ("manual", "due"), ("manual", "review"), ("report", "sent"),
    ("rehearse", "--rounds", "0"),  # what it shows is masked, and the state is none of its business
)  # fmt: skip


def test_commands_that_show_records_are_told_and_those_that_do_not_are_not(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    for args in (*SHOW, *QUIET):
        project.trueup(*args).expect(0)
    assert commands_told(project) == ["sync", *(args[0] for args in SHOW)]
    told = {line["what"]["command"]: line["what"]["arguments"] for line in lines_of(project, "--kind", "command")}
    assert told["record"] == {"entity": "customer", "key": "crm:…", "record": 1}
    assert told["sql"] == {"statement": "SELECT ?", "limit": 1000}


CHANGE = {
    "sync", "pause", "resume", "conflicts resolve", "matches link", "matches unlink", "failures retry", "failures drop", "failures mend",
    "holds approve", "holds refuse", "holds leave", "notices resend", "notices drop", "notices stop", "notices start", "notices send",
    "serve", "worker", "undo", "restore", "rebuild", "compact", "secrets set", "connect",
    "export", "import", "migrate", "manual done",
    "secrets remove", "secrets rotate", "keys new", "keys rotate", "keys forget", "keys encrypt", "keys decrypt",
    "users add", "users invite", "users password", "users role", "users disable", "users enable",
    "users key add", "users key rotate", "users key revoke",
}  # fmt: skip
"""Commands that change the state: whatever writes to it is told (`Store.write`), so nothing has to be done for these."""


def test_what_a_program_asks_for_is_told_as_commands_are(tmp_path, monkeypatch):
    monkeypatch.setattr(audit._Process, "command", None)  # a test before this one may have been a command in this process
    project = company(tmp_path)
    with trueup.open(tmp_path / "trueup.yaml") as workspace:
        workspace.plan()
        run = workspace.sync().run
        assert run is not None
        workspace.plan(full=True)
        workspace.report()
        workspace.undo(run, plan=True)
    asked = ["trueup.open sync", "trueup.open plan", "trueup.open report", "trueup.open undo"]
    assert commands_told(project) == asked, "before the first sync there is no trail, and a comparison within a report is part of it"
    told = {line["what"]["command"]: line["what"]["arguments"] for line in lines_of(project, "--kind", "command")}
    assert told["trueup.open plan"] == {"full": True}
    assert told["trueup.open undo"] == {"run": run, "plan": True}
    assert [line["what"]["paths"] > 0 for line in lines_of(project, "--kind", "configuration")] == [True]
    project.trueup("plan").expect(0)
    assert commands_told(project) == [*asked, "plan"]


def test_a_program_that_may_only_read_the_state_is_shown_it_with_a_warning(tmp_path, monkeypatch):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    with trueup.open(tmp_path / "trueup.yaml") as workspace:
        monkeypatch.setattr(Store, "write", refused)
        with pytest.warns(RuntimeWarning, match="not noted in the audit trail: .*may only be read"):
            assert workspace.plan().entities["customer"].changes == []


def refused(_store: Store, **_how: object) -> NoReturn:
    """A state that may not be written."""
    message = "the state may only be read"
    raise StateError(message)


def test_every_command_is_known_to_show_to_change_or_to_be_quiet():
    """A new command that shows records must say `looked`, and then stand in SHOW."""

    def leaves(one: Any, path: str) -> Iterator[str]:
        below = getattr(one, "commands", {})
        if path and (not below or one.invoke_without_command):
            yield path
        for name, inner in below.items():
            yield from leaves(inner, f"{path} {name}".strip())

    known = {
        *CHANGE,
        *(args[0] for args in SHOW),
        *(" ".join(args[:2]) if args[0] in {"audit", "manual", "report"} else args[0] for args in QUIET),
        "decide",  # before there is a state
        "init",
        "audit export",
        "notices dead",  # told where there are any
        "notices test",
        "alerts test",
        "alerts suggest",
        "backup",
        "secrets",
        "secrets list",
        "report late",  # says when, and no record
        "grants",  # shows rights, and no record
        "connector check",  # no state, and so no trail
        "connector list",
        "connector show",
        "connector try",
        "keys",
        "users",
        "users list",
        "users key",
        "users key list",
    }
    assert set(leaves(typer.main.get_command(app), "")) - known == set()


def test_nothing_personal_and_no_secret_is_in_the_trail(tmp_path):
    config = CONFIG.replace("key: No", "key: E-mail").replace("path: crm.db}", f"path: crm.db, limits: {{rows_per_s: 500}}}} # {MARK}")
    config = config.replace("entities:", f"  shop: {{connector: postgres, url: 'postgresql://{MARK}:{MARK}@localhost:1/x'}}\nentities:")
    sheet = f"No,Name,E-mail,Credit\n1,Ada {MARK},{MARK}@example.com,10.5\n2,Ben,ben@example.com,\n"
    project = company(tmp_path, config, sheet, [*PEOPLE, (9, f"Eve {MARK}", f"eve-{MARK}@example.com", "1")])
    project.trueup("sync").expect(0)
    project.trueup("sync", "--record", "customer", f"sheet:{MARK}@example.com").expect(0)
    project.trueup("record", "customer", f"sheet:{MARK}@example.com").expect(0)
    project.trueup("sql", f"SELECT '{MARK}', name FROM customer WHERE email = '{MARK}@example.com' -- {MARK}").expect(0)
    project.sql("UPDATE contacts SET name = ? WHERE id = 1", (f"One {MARK}",))
    project.write("customers.csv", project.read("customers.csv").replace("Ada,ada@", f"Two {MARK},ada@"))
    project.trueup("sync").expect(0)
    (conflict,) = project.trueup("conflicts", "--json").expect(0).json
    project.trueup("conflicts", "resolve", str(conflict["id"]), "--value", f"Three {MARK}", "--sync").expect(0)
    project.trueup("audit", "export", "trail.jsonl").expect(0)
    trail = project.read("trail.jsonl")
    assert MARK not in trail
    assert "…" in trail
    assert '"about":"conflict"' in trail
    assert '"field":"name"' in trail
    assert MARK in project.trueup("sql", "SELECT name FROM customer").expect(0).out  # it was there to be found


def test_the_trail_says_what_left_for_which_system(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    sending = [line["what"] for line in lines_of(project, "--kind", "sending", "--run", "1")]
    assert {(what["system"], what["operation"], what["rows"]) for what in sending} == {("crm", "create", 1), ("sheet", "create", 2)}
    assert next(what["fields"] for what in sending if what["system"] == "sheet") == {"credit": 2, "email": 2, "name": 2}
    ended = next(line["what"] for line in lines_of(project, "--kind", "run") if line["what"]["event"] == "ended")
    assert ended["wrote"] == {"customer": {"crm": {"created": 1}, "sheet": {"created": 2}}}
    project.sql("UPDATE contacts SET credit = 99 WHERE id = 1")
    project.trueup("sync").expect(0)
    (update,) = [line["what"] for line in lines_of(project, "--kind", "sending", "--run", "2")]
    assert (update["operation"], update["rows"], update["fields"]) == ("update", 1, {"credit": 1})


def test_decisions_are_told(tmp_path):
    project = company(tmp_path, sheet="No,Name,E-mail,Credit\n001,Ada,ada@example.com,10.5\n002,Cy,cy@example.com,lots\n")
    project.trueup("sync").expect(3)
    project.trueup("pause", "sheet").expect(0)
    project.trueup("resume", "--all").expect(0)
    (failure,) = project.trueup("failures", "--json").expect(0).json
    project.trueup("failures", "retry").expect(0)
    project.trueup("failures", "drop", str(failure["id"])).expect(0)
    project.trueup("matches", "unlink", "crm:1").expect(0)
    project.trueup("matches", "link", "1", "--new").expect(0)
    told = [line["what"] for line in reversed(lines_of(project, "--kind", "decision"))]
    assert [what["about"] for what in told] == ["pause", "resume", "failures", "failures", "match", "match"]
    assert told[3]["drop"] == [failure["id"]]
    assert told[4]["unlinked"] == 1


def test_a_changed_configuration_is_told_by_its_paths(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    changed = CONFIG.replace("clean: [trim, lower]", "clean: [trim]").replace(", conflict: last_write_wins", "")
    project.write("trueup.yaml", changed)
    project.trueup("sync").expect(0)
    project.trueup("sync").expect(0)
    newest, _first = [line["what"] for line in lines_of(project, "--kind", "configuration")]
    assert newest["changed"] == ["entities.customer.fields.email.clean"]
    assert newest["removed"] == ["entities.customer.fields.credit.conflict"]


def test_the_head_goes_out_with_reports(tmp_path):
    project = company(tmp_path)
    head = project.trueup("sync", "--json").expect(0).json["audit"]
    assert head["head"].startswith(f"{head['lines']}:")
    project.trueup("audit", "verify", "--head", head["head"]).expect(0)
    for args in (("status",), ("run", "1"), ("verify",), ("drift",)):
        told = project.trueup(*args, "--json").expect(0).json["audit"]
        project.trueup("audit", "verify", "--head", told["head"].partition(":")[2]).expect(0)
        assert f"Audit trail: {told['lines']}" in (out := project.trueup(*args).expect(0).out) or "head " in out
    project.trueup("drift", "--html", "drift.html").expect(0)
    assert "Audit trail: " in project.read("drift.html")


def test_a_tampered_trail_is_status_3_and_names_the_line(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    head = project.trueup("status", "--json").expect(0).json["audit"]["head"]
    project.sql("DROP TRIGGER audit_no_delete", database=".trueup/state.db")
    project.sql("DELETE FROM audit WHERE number = (SELECT max(number) FROM audit)", database=".trueup/state.db")
    project.trueup("audit", "verify").expect(0)
    ended = project.trueup("audit", "verify", "--head", head).expect(3)
    assert "the end was cut off" in ended.out
    project.sql("DELETE FROM audit WHERE number = 3", database=".trueup/state.db")
    found = project.trueup("audit", "verify", "--json").expect(3).json
    assert (found["whole"], found["problem"]["line"]) == (False, 3)
    project.trueup("audit").expect(0)  # what is left can still be read


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (("audit", "verify", "--head", "abc"), 2, "as reports show it"),
        (("audit", "--kind", "odd"), 2, "kinds: command"),
        (("audit", "--since", "yesterday"), 2, "neither a day nor a moment"),
        (("audit", "verify", "nowhere.jsonl"), 1, "No such file"),
        (("audit", "verify", "customers.csv"), 1, "is not an audit file"),
        (("audit", "verify", "crm.db"), 1, "is not an audit file"),
        (("audit", "export", "customers.csv"), 2, "is no audit file"),
        (("audit", "export", "no/folder.jsonl"), 2, "folder that exists"),
    ],
)
def test_bad_input(tmp_path, args, status, said):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    before = project.read("customers.csv")
    assert said in project.trueup(*args).expect(status).err
    assert project.read("customers.csv") == before


@pytest.mark.slow  # it waits for the other one as long as a person would
def test_a_state_that_may_only_be_read_is_shown_with_a_word_about_it(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    with closing(sqlite3.connect(tmp_path / ".trueup" / "state.db")) as other:
        other.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")  # somebody writes for long
        ended = project.trueup("record", "customer", "crm:1").expect(0)
    assert "not noted in the audit trail" in ended.err
    assert "ada@example.com" in ended.out


@pytest.mark.slow
def test_a_killed_sync_leaves_a_trail_that_says_what_left(tmp_path):
    """Of every batch that was announced, the outcome is told or the intent still stands; of both there is exactly one."""
    chance = random.Random(11)
    many = [(number, f"P{number}", f"p{number}@example.com", "1") for number in range(1, 4000)]
    project = company(tmp_path, sheet="No,Name,E-mail,Credit\n", people=many)
    project.trueup("status").expect(0)
    for _round in range(5):
        process = subprocess.Popen(command("sync"), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.8, 3.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / ".trueup" / "state.db").exists():
            _intents_and_lines_agree(project)
        project.sql("UPDATE contacts SET credit = credit + 1")
    project.trueup("holds", "--json")
    project.trueup("sync")
    _intents_and_lines_agree(project)
    project.trueup("audit", "verify").expect(0)


def _intents_and_lines_agree(project: Project) -> None:
    database = ".trueup/state.db"
    if not project.sql("SELECT 1 FROM sqlite_master WHERE name = 'audit'", database=database):
        return
    told = [json.loads(line) for (line,) in project.sql("SELECT line FROM audit ORDER BY number", database=database)]
    announced = [line["what"]["intent"] for line in told if line["kind"] == "sending"]
    ended = [line["what"]["intent"] for line in told if line["kind"] == "sent"]
    outstanding = [number for (number,) in project.sql("SELECT id FROM sending", database=database)]
    assert sorted(announced) == sorted([*ended, *outstanding])
    began = [line["what"]["run"] for line in told if line["kind"] == "run" and line["what"]["event"] == "began"]
    assert began == [number for (number,) in project.sql("SELECT id FROM run ORDER BY id", database=database)]


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        ("SELECT name FROM customer WHERE email = 'a@b.c' AND id > 17", "SELECT name FROM customer WHERE email = ? AND id > ?"),
        ("SELECT 'it''s' AS x -- Ada", "SELECT ? AS x"),
        ('SELECT /* Ada */ "Ada", `Ada`, [Ada]', "SELECT   ?, ?, ?"),
        ("SELECT $$Ada$$, $a$ Ada $a$, 'Ada", "SELECT ?, ?, ?"),
        ("SELECT E'\\' Ada '", "…"),
    ],
)
def test_a_statement_is_kept_without_values(statement, kept):
    assert without_values(statement) == kept


@pytest.mark.slow
def test_the_trail_is_written_whoever_looks(tmp_path: Path) -> None:
    """Two at once: neither is lost, and the chain is whole."""
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    others = [
        subprocess.Popen(command("sql", "SELECT 1"), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) for _number in range(4)
    ]
    assert [other.wait() for other in others] == [0] * 4
    assert commands_told(project) == ["sync", *["sql"] * 4]
    project.trueup("audit", "verify").expect(0)


def test_a_restore_is_told_with_the_head_that_it_replaced(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.trueup("backup", "copy.trueup").expect(0)
    project.trueup("pause", "crm").expect(0)
    replaced = project.trueup("status", "--json").expect(0).json["audit"]["head"]
    project.trueup("restore", "copy.trueup").expect(0)
    project.trueup("audit", "verify").expect(0)
    assert commands_told(project) == ["sync", "backup", "restore"]
    (told,) = [line["what"] for line in lines_of(project, "--kind", "decision")]
    assert (told["about"], told["replaced"]) == ("restore", replaced)
    project.trueup("audit", "verify", "--head", replaced).expect(3)


def test_secrets_and_keys_are_told_and_no_value(tmp_path):
    project = company(tmp_path, f"master_key: {{file: keys/master.key}}\n{CONFIG}")
    project.trueup("keys", "new").expect(0)  # there is no state yet
    value = subprocess.run(
        command("secrets", "set", "CRM_PASSWORD"), cwd=tmp_path, env=environment(), input=MARK, capture_output=True, text=True, check=True
    )
    assert "Kept CRM_PASSWORD" in value.stdout
    project.trueup("keys", "rotate").expect(0)
    (former,) = project.trueup("keys", "rotate", "--json").expect(0).json["former"][1:]
    project.trueup("keys", "forget", former).expect(0)
    project.trueup("secrets", "remove", "CRM_PASSWORD").expect(0)
    assert commands_told(project) == ["secrets set", "keys rotate", "keys rotate", "keys forget", "secrets remove"]
    told = lines_of(project, "--kind", "command")
    assert told[-1]["what"]["arguments"] == {"secret": "CRM_PASSWORD"}
    assert MARK not in str(told)
