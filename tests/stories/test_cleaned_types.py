"""Dates and amounts of which every row is written otherwise: cleaned before they are read, and what cannot be read is set aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.cli.tool import Project

CONFIG = """\
systems:
  till: {connector: sqlite, path: till.db}
  list: {connector: csv, path: list.csv}
entities:
  bill:
    match: [[number]]
    precedence: [list, till]
    fields:
      number: {type: text, required: true}
      day:    {type: date, clean: [{null_if: [1900-01-01, "n/a"]}, {date: dmy}], conflict: last_write_wins}
      total:  {type: decimal, clean: [{null_if: "-"}, {money: "1.234,56 EUR"}], conflict: last_write_wins}
    mappings:
      till: {object: bills, key: id, fields: {number: number, day: day, total: total}}
      list: {key: No, fields: {number: No, day: Day, total: Total}}
"""
LIST = """\
No,Day,Total
1,20.11.2026,"1.234,50 €"
2,3 Nov 2026,"12,5"
3,1900-01-01,-
4,2026-11-04,7.5
5,11/20/2026,8
6,05.11.2026,"1,234"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write("trueup.yaml", CONFIG)
    made.write("list.csv", LIST)
    made.sql("CREATE TABLE bills (id INTEGER PRIMARY KEY, number TEXT, day TEXT, total NUMERIC)", database="till.db")
    return made


def bills(project: Project) -> dict[str, tuple[str | None, float | None]]:
    return {number: (day, total) for number, day, total in project.sql("SELECT number, day, total FROM bills", database="till.db")}


def test_every_way_of_writing_crosses_as_one(project: Project) -> None:
    project.trueup("sync").expect(3)
    assert bills(project) == {"1": ("2026-11-20", 1234.5), "2": ("2026-11-03", 12.5), "3": (None, None), "4": ("2026-11-04", 7.5)}
    reasons = {item["key"]: item["reason"] for item in project.trueup("failures", "--json").expect(0).json}
    assert "11/20/2026" in reasons["5"]  # there is no 20th month
    assert "1,234" in reasons["6"]  # 1.234, which would be 1234 the next time
    assert project.read("list.csv") == LIST  # a cleaned value does not go back by itself
    quiet = project.trueup("sync", "--full", "--json").expect(3).json["entities"]["bill"]["systems"]
    assert [quiet[name]["delivered"]["updated"] for name in ("till", "list")] == [0, 0]


def test_an_edit_comes_back_in_a_form_that_is_read_as_it_was_meant(project: Project) -> None:
    project.trueup("sync").expect(3)
    project.sql("UPDATE bills SET day = '2027-02-01', total = 99.95 WHERE number = '1'", database="till.db")
    project.trueup("sync").expect(3)
    assert '1,2027-02-01,"99.95"\n2,3 Nov 2026,"12,5"\n' in project.read("list.csv")
    project.sql("UPDATE bills SET total = 1.234 WHERE number = '2'", database="till.db")  # 1.234 would be read as 1234 there
    project.trueup("sync").expect(3)
    assert '2,3 Nov 2026,"12,5"\n' in project.read("list.csv")
    assert bills(project)["2"] == ("2026-11-03", 1.234)
    assert any("would read back as" in item["reason"] for item in project.trueup("failures", "--json").expect(0).json)


def test_two_ways_of_saying_how_a_date_is_written_are_a_problem(project: Project) -> None:
    project.write("trueup.yaml", CONFIG.replace("day: Day", 'day: {column: Day, format: "%d.%m.%Y"}'))
    problems = project.trueup("check", "--json").expect(1).json["problems"]
    said = "`format` and the cleaning step 'date' both say how its values are written"
    assert [problem["path"] for problem in problems if said in problem["message"]] == ["entities.bill.mappings.list.fields.day"]
