"""What is done by hand: when it is due, that it was done, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system.cli.tool import CONFIG, Project, company
from trueup.config.load import load_config
from trueup.errors import ConfigError
from trueup.store import Store

PRICES = """\
manual:
  prices & 'more' שלום:
    every: 7d
    owner: Office manager
    steps:
      - Print the list
      - {do: Type each price, paste: "Till, Prices", minutes: 30}
      - {do: Count, minutes: 10}
  stock:
    every: {at: "17:00", days: fri, timezone: Europe/London}
    minutes: 5
    steps: [Count]
"""
NAME = "prices & 'more' שלום"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write("trueup.yaml", PRICES)
    return made


def due(project: Project) -> dict[str, Any]:
    return {one["process"]: one for one in project.trueup("manual", "due", "--json").expect(0).json}


def test_what_was_never_done_is_due_and_nothing_is_made_by_looking(project: Project) -> None:
    told = project.trueup("manual", "due").expect(0).out
    assert "2 processes due" in told
    assert "2. Type each price → Till, Prices" in told
    assert "now: never done yet" in told
    assert "Nothing was noted yet" in project.trueup("manual", "review").expect(0).out
    assert project.files() == {"trueup.yaml"}


def test_what_is_done_is_due_again_after_its_time(project: Project) -> None:
    told = project.trueup("manual", "done", NAME, "--minutes", "50", "--at", "2d").expect(0).out
    assert told.startswith(f"Noted: {NAME} was done at ")
    assert "50 min" in told
    found = due(project)
    assert not found[NAME]["due"]
    assert found["stock"]["due"]
    project.trueup("manual", "done", NAME, "--at", "8d").expect(0)
    assert not due(project)[NAME]["due"], "an earlier time does not make it due"
    project.trueup("manual", "done", "stock", "--at", "2026-01-01T12:00").expect(0)
    assert due(project)["stock"]["late"] > 0, "a Friday has passed since"


def test_a_process_that_is_late_is_in_the_report(tmp_path: Path) -> None:
    project = company(tmp_path, PRICES + CONFIG)
    project.trueup("sync").expect(0)
    told = project.trueup("report").expect(0).out
    assert f"! by hand: {NAME}, never done yet (Office manager): `trueup manual due`" in told
    project.trueup("manual", "done", NAME, "--at", "9d").expect(0)
    project.trueup("manual", "done", "stock").expect(0)
    needs = project.trueup("report", "--json").expect(0).json["needs"]
    assert [need["what"].partition(",")[0] for need in needs] == [f"by hand: {NAME}"]
    assert "due since" in needs[0]["what"]


def test_the_review_names_the_steps_worth_automating(project: Project) -> None:
    """Minutes that were written down count; the rest of a whole is shared out by what is expected; sums are of thirty days."""
    project.trueup("manual", "done", NAME, "--minutes", "60", "--step", "1=20", "--at", "20d").expect(0)
    project.trueup("manual", "done", NAME, "--step", "1=5", "--step", "2=45", "--step", "3=10", "--at", "10d").expect(0)
    found = project.trueup("manual", "review", "--json").expect(0).json
    prices = found["processes"][0]
    assert (prices["times"], prices["expected"], prices["minutes"]) == (2, 4, 120.0)
    assert [step["minutes"] for step in prices["steps"]] == [25.0, 75.0, 20.0], "30 and 10 of the 40 left, by expectation"
    assert [step["told"] for step in prices["steps"]] == [True, False, False]
    assert [step["step"] for step in found["worth_automating"]] == [2]
    assert sum(step["minutes"] for step in prices["steps"]) == prices["minutes"]
    wider = project.trueup("manual", "review", "--since", "60d", "--worth", "30", "--json").expect(0).json
    assert [step["minutes_a_month"] for step in wider["worth_automating"]] == [37.5], "half as often in twice the time"
    text = project.trueup("manual", "review", "--worth", "20").expect(0).out
    assert "120 minutes a month together" in text
    assert "nothing is worth automating yet" in project.trueup("manual", "review", "--worth", "1000").expect(0).out


def test_it_is_in_the_trail_without_the_note(project: Project) -> None:
    project.trueup("manual", "done", NAME, "--note", "Mrs Smith is away").expect(0)
    with Store.open(str(project.folder / ".trueup/state.db")) as store, store.read() as db:
        lines = [row[0] for row in db.rows("SELECT line FROM audit ORDER BY number")]
        assert db.rows("SELECT note FROM done_by_hand") == [("Mrs Smith is away",)]
    assert any('"about":"manual"' in line.replace(" ", "") for line in lines)
    assert "Smith" not in "".join(lines)
    project.trueup("audit", "verify").expect(0)


BAD: list[tuple[list[str], str]] = [
    (["prizes"], "there is no manual process 'prizes'"),
    ([NAME, "--step", "9=1"], "has no step 9"),
    ([NAME, "--step", "0=1"], "has no step 0"),
    ([NAME, "--step", "two=1"], "this is no step and its minutes"),
    ([NAME, "--step", "1=1", "--step", "1=2"], "step 1 is given twice"),
    ([NAME, "--minutes", "-5"], "these are no minutes"),
    ([NAME, "--minutes", "nan"], "these are no minutes"),
    ([NAME, "--minutes", "5", "--step", "1=6"], "its steps took 6 minutes, and all of it 5"),
    ([NAME, "--at", "2999-01-01"], "still to come"),
    ([NAME, "--at", "whenever"], "this is no moment"),
    ([NAME, "--note", "x" * 2001], "a note has at most"),
]


def test_what_cannot_be_is_refused_and_nothing_is_noted(project: Project) -> None:
    for words, said in BAD:
        assert said in project.trueup("manual", "done", *words).expect(2).err
    assert due(project)[NAME]["last_at"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("manual: {a: {every: 7d}}", "`steps` is missing"),
        ("manual: {a: {steps: [x]}}", "`every` is missing"),
        ("manual: {a: {every: realtime, steps: [x]}}", "not a duration"),
        ("manual: {a: {every: {at: '25:00'}, steps: [x]}}", "not a time of day"),
        ("manual: {a: {every: 7d, steps: [{paste: x}]}}", "`do` is missing"),
        ("manual: {a: {every: 7d, steps: [{do: x, minutes: -1}]}}", "greater than 0"),
        ('manual: {"a\\u202Eb": {every: 7d, steps: [x]}}', "cannot name a process"),
        ("manual: {}", "`systems` is missing"),
        ("manual: []", "must be a mapping"),
    ],
)
def test_a_process_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "trueup.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "trueup.yaml", {})


@pytest.mark.slow
@pytest.mark.parametrize("words", ["sync", "plan", "status", "verify", "drift", "check", "runs", "doctor", "conflicts"])
def test_without_a_system_the_other_commands_end_well_or_say_why(project: Project, words: str) -> None:
    ended = project.trueup(*words.split())
    assert "Traceback" not in ended.err
    assert ended.status in {0, 1}
    assert ended.status == 0 or ended.err.startswith("trueup: ")
