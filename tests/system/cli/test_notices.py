"""`trueup notices` as a person uses it: what is told to whom, what could not be, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receivers import SECRET, Receiver
from tests.system.cli.tool import CONFIG, PEOPLE, SHEET, TABLE, Project


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def project(tmp_path: Path, receiver: Receiver) -> Project:
    found = Project(tmp_path)
    told = f"notices:\n  flow: {{url: '{receiver.url}', secret: '${{FLOW}}', owner: Sales, give_up: 1s, fields: {{customer: [email]}}}}\n"
    found.write("trueup.yaml", CONFIG + told)
    found.write(".env", f"FLOW={SECRET}\n")
    found.write("customers.csv", SHEET)
    found.sql(TABLE)
    for person in PEOPLE:
        found.sql("INSERT INTO contacts VALUES (?, ?, ?, ?)", person)
    found.trueup("sync").expect(0)
    return found


def rename(project: Project, name: str) -> None:
    project.sql("UPDATE contacts SET name = ? WHERE id = 1", (name,))
    project.trueup("sync").expect(0)


@pytest.mark.slow
def test_what_is_told_and_what_could_not_be(project: Project, receiver: Receiver) -> None:
    (before,) = project.trueup("notices", "--json").expect(0).json
    assert (before["name"], before["since"], before["entities"]) == ("flow", None, ["customer"])
    assert project.trueup("notices", "send", "--json").expect(0).json["flow"]["sent"] == 0
    rename(project, "Ada Lovelace")
    assert project.trueup("notices", "--json").expect(0).json[0]["due"] == 1
    assert project.trueup("notices", "send", "flow", "--json").expect(0).json["flow"]["sent"] == 1
    assert (receiver.told[0].data["change"], receiver.told[0].data["fields"]) == ("updated", ["name"])

    receiver.behave = lambda _told, _handler: 503
    rename(project, "Ada Byron")
    found = project.trueup("notices", "send", "--json").expect(3).json["flow"]
    assert (found["sent"], found["waiting"], found["why"]) == (0, 1, "it answered 503")
    project.trueup("notices", "send").expect(3)
    shown = project.trueup("notices").expect(0).out
    assert "it answered 503" in shown
    assert "told?by" not in shown
    while not (given_up := project.trueup("notices", "dead", "--json").expect(0).json):
        project.trueup("notices", "send").expect(3)
    assert (given_up[0]["to"], given_up[0]["record"], given_up[0]["reason"]) == ("flow", 1, "it answered 503")
    assert "customer 1" in project.trueup("notices", "dead", "flow").expect(0).out

    receiver.behave = lambda _told, _handler: 200
    project.trueup("notices", "resend", "99").expect(2)
    assert project.trueup("notices", "resend", "--json").expect(0).json == {"resend": [given_up[0]["id"]]}
    assert project.trueup("notices", "send", "--json").expect(0).json["flow"]["sent"] == 1
    project.trueup("notices", "dead").expect(0)
    project.trueup("notices", "drop", str(given_up[0]["id"])).expect(2)
    assert "1 notice to flow, with customer.email" in project.trueup("audit").expect(0).out
    trail = project.trueup("audit", "--kind", "decision", "--json").expect(0).out
    assert json.dumps("notices") in trail
    assert "Ada" not in trail


def test_a_message_that_says_nothing_and_a_subscription_that_rests(project: Project, receiver: Receiver) -> None:
    assert "never told anything" in project.trueup("notices", "stop", "flow").expect(2).err
    assert project.trueup("notices", "test", "--json").expect(0).json == {"flow": {"sent": True, "why": None}}
    assert receiver.told[0].said["type"] == "trueup.test"
    project.trueup("notices", "send").expect(0)
    project.trueup("notices", "stop", "flow").expect(0)
    rename(project, "Ada Lovelace")
    assert project.trueup("notices", "send", "--json").expect(3).json["flow"]["stopped"] == "a person stopped it"
    assert len(receiver.told) == 1
    project.trueup("notices", "start", "flow").expect(0)
    project.trueup("notices", "send").expect(0)
    assert len(receiver.told) == 2
    receiver.close()
    assert "flow: NOT SENT: nobody listens there" in project.trueup("notices", "test").expect(1).out
    assert "nobody is named 'flaw'" in project.trueup("notices", "test", "flaw").expect(2).err
