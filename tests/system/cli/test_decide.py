"""The checklist as a person uses it: asked in a terminal, from a file, and with every kind of bad answer."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.system.cli.tool import Project, typed_in

LEADS = """\
records:
  leads:
    frequency: real-time
    delay: seconds
    error_cost: high
    people: 12
    systems: 2
    ownership: clear
    quality: clean
    maintenance: true
"""
PRICES = """\
  prices <b>:
    frequency: less-often
    delay: days
    error_cost: low
    people: 1
    systems: 2
    ownership: clear
    quality: clean
    maintenance: no
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write("answers.yaml", LEADS)
    return made


def test_a_file_of_answers_as_json(project: Project) -> None:
    said = project.trueup("decide", "--answers", "answers.yaml", "--json").expect(0).json
    leads = said["records"]["leads"]
    assert leads["approach"] == "immediate-sync"
    assert leads["flags"] == ["real-time required", "high cost of error"]
    assert set(leads["runner_up"]) == {"approach", "why_not", "price"}
    assert leads["reasons"]
    assert leads["risks"]
    assert leads["next_steps"]
    assert said["mix"] is None
    assert project.files() == {"answers.yaml"}


def test_a_page_to_hand_around(project: Project) -> None:
    project.write("answers.yaml", LEADS + PRICES)
    told = project.trueup("decide", "--answers", "answers.yaml", "--html", "page.html").expect(0)
    assert "prices <b>: documented manual process" in told.out
    assert told.out.rstrip().endswith("The page is in page.html.")
    page = project.read("page.html")
    assert "prices &lt;b&gt;" in page
    assert "<code>trueup drift</code>" in page
    for mark in ("<b>:", "<script", "http://", "https://"):
        assert mark not in page
    HTMLParser().feed(page)


BAD = {
    "there is no such file (correct the path of the answers": None,
    "no kind of record is named": "",
    "`records` is needed": "leads: {}\n",
    "the answers are missing": "records: {leads: }\n",
    "`soon` is none of the answers": LEADS.replace("seconds", "soon"),
    "did you mean `nightly`?": LEADS.replace("real-time", "nighly"),
    "unknown question `ownr` in the answers": LEADS.replace("ownership", "ownr"),
    "ownership is not answered: Who owns them?": LEADS.replace("    ownership: clear\n", ""),
    "fewer than two systems": LEADS.replace("systems: 2", "systems: 1"),
    "`many` is no whole number": LEADS.replace("people: 12", "people: many"),
    "`perhaps` is neither yes nor no": LEADS.replace("maintenance: true", "maintenance: perhaps"),
    "frequency real-time and delay days contradict each other": LEADS.replace("seconds", "days"),
    "`fax` is no ability": LEADS + "    abilities: [api, fax]\n",
    "answers.yaml:3": "records:\n  leads:\n\tfrequency: hourly\n",
}


@pytest.mark.parametrize("said", BAD)
def test_bad_answers_are_named(tmp_path: Path, said: str) -> None:
    project = Project(tmp_path)
    text = BAD[said]
    if text is not None:
        project.write("answers.yaml", text)
    told = project.trueup("decide", "--answers", "answers.yaml", "--html", "page.html", "--save", "more.yaml").expect(1)
    assert told.out == ""
    assert said.replace("`records` is needed", "no kind of record is named") in told.err
    assert all(line.startswith("trueup: answers.yaml") for line in told.err.splitlines())
    assert project.files() <= {"answers.yaml"}, "nothing is half done"


def test_all_that_is_missing_is_told_at_once(project: Project) -> None:
    project.write("answers.yaml", "records:\n  leads:\n    people: 3\n")
    told = project.trueup("decide", "--answers", "answers.yaml").expect(1)
    assert len(told.err.splitlines()) == 7


def test_nobody_is_asked_where_nobody_sits(project: Project) -> None:
    told = project.trueup("decide", told="").expect(2)
    assert "this is no terminal" in told.err


def test_a_page_that_cannot_be_written(project: Project) -> None:
    told = project.trueup("decide", "--answers", "answers.yaml", "--html", "nowhere/page.html").expect(2)
    assert "nowhere/page.html cannot be written" in told.err


def test_a_person_is_asked_and_may_keep_the_answers(tmp_path: Path) -> None:
    """Numbers and words are taken; what is no answer, or contradicts another one, is asked again."""
    typed = ["stock", "9", "1", "days", "nightly", "hours", "2", "none", "3", "1", "2", "1", "messy", "n", "n"]
    told = typed_in(tmp_path, typed, "decide", "--save", "answers.yaml")
    assert "One of 1 to 4, or real-time, hourly, nightly, less-often." in told
    assert "That contradicts the answer before" in told
    assert "A whole number, 1 or more." in told
    assert "stock: nightly batch" in told
    again = Project(tmp_path).trueup("decide", "--answers", "answers.yaml", "--json").expect(0).json["records"]["stock"]
    assert again["answers"] == {
        "frequency": "nightly",
        "delay": "hours",
        "error_cost": "medium",
        "people": "3",
        "systems": "2",
        "ownership": "clear",
        "quality": "messy",
        "maintenance": "no",
    }


def test_what_is_recommended_is_begun(project: Project) -> None:
    """A project that runs as it is, and a page for what people do by hand."""
    customers = (
        "  customers: {frequency: hourly, delay: hours, error_cost: medium, people: 9, systems: 3, ownership: duplicated, quality: messy, "
        "maintenance: true}\n"
    )
    project.write("answers.yaml", LEADS + PRICES + customers)
    told = project.trueup("decide", "--answers", "answers.yaml", "--init", "new/project").expect(0)
    assert "Begun in new/project: answers.yaml, trueup.yaml" in told.out
    config = project.read("new/project/trueup.yaml")
    assert "when: [realtime]" in config
    assert "when: [{every: 1h}]" in config
    assert "customers_3: {connector: csv" in config
    assert "never done yet" in project.trueup("manual", "due", "-c", "new/project/trueup.yaml").expect(0).out
    project.trueup("check", "-c", "new/project/trueup.yaml").expect(0)
    project.trueup("sync", "-c", "new/project/trueup.yaml").expect(0)
    before = project.files()
    again = project.trueup("decide", "--answers", "answers.yaml", "--init", "new/project").expect(2)
    assert "new/project/answers.yaml is there already" in again.err
    assert project.files() == before
    assert "cannot be made" in project.trueup("decide", "--answers", "answers.yaml", "--init", "answers.yaml/x").expect(2).err


def test_what_is_done_by_hand_alone_is_begun_without_a_system(tmp_path: Path) -> None:
    """The whole way of the fifth outcome: decided, written down, hung up, due, done, and looked back at."""
    project = Project(tmp_path)
    project.write("answers.yaml", LEADS.splitlines()[0] + "\n" + PRICES)
    assert "documented manual process" in project.trueup("decide", "--answers", "answers.yaml", "--init", "new").expect(0).out
    assert {name for name in project.files() if name.startswith("new/")} == {"new/answers.yaml", "new/trueup.yaml"}
    config = ("-c", "new/trueup.yaml")
    assert "the runbook by-hand-prices-b is out of date: it is missing" in project.trueup("check", *config).expect(0).out
    project.trueup("runbook", *config).expect(0)
    assert "out of date" not in project.trueup("check", *config).expect(0).out
    assert "# prices \\<b\\>: by hand" in project.read("new/runbooks/by-hand-prices-b.md")
    project.trueup("manual", "done", "prices <b>", "--minutes", "25", *config).expect(0)
    assert "Nothing is due." in project.trueup("manual", "due", *config).expect(0).out
    assert "25 min" in project.trueup("manual", "review", *config).expect(0).out
    assert "Nothing to do." in project.trueup("report", *config).expect(0).out
