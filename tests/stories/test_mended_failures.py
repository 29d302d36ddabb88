"""A value that a system refuses is given another one by a person, and the next run delivers it everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.project import ANN, PEOPLE, NearProject

REFUSES = "CREATE TRIGGER short BEFORE UPDATE ON customers WHEN length(NEW.name) > 5 BEGIN SELECT RAISE(ABORT, 'name is too long'); END"
LONG = "O'Hara-ליאור 👩‍💻 the Third"
SHORT = "Ann O"


@pytest.fixture
def project(tmp_path: Path) -> NearProject:
    """A sheet says a name that the database does not take."""
    made = NearProject(tmp_path)
    made.add_sqlite("crm", PEOPLE)
    made.add_csv("sheet", PEOPLE)
    made.configure()
    made.sync()
    made.sql("crm", REFUSES)
    made.write_csv("sheet", [(ANN[0], LONG, *ANN[2:]), *PEOPLE[1:]])
    made.sync(expect={0, 3})
    return made


def test_the_value_that_is_typed_reaches_all_systems(project: NearProject) -> None:
    (failed,) = project.failures()
    done = project.run("failures", "mend", str(failed["id"]), "--field", "name", "--value", SHORT, "--json").body
    assert (done["record"], done["field"], done["before"], done["value"]) == (failed["record"], "name", LONG, SHORT)
    project.sync()
    mended = [(ANN[0], SHORT, *ANN[2:]), *PEOPLE[1:]]
    assert project.rows("crm") == project.rows("sheet") == sorted(mended, key=str)
    assert project.failures() == []
    told = project.run("record", "customer", str(failed["record"]), "--json").body["history"]
    assert [line["rule"] for line in told if line["kind"] == "resolved"] == [
        "a person gave this value, because crm had refused the one before"
    ]
    trail = project.run("audit", "--kind", "decision", "--json").out
    assert '"mend"' in trail
    assert SHORT not in trail


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--value", "x", "--empty"), "either --value VALUE or --empty"),
        ((), "either --value VALUE or --empty"),
        (("--field", "nothing", "--value", "x"), "not about 'nothing'"),
        (("--field", "points", "--value", "lots"), "points is of type integer"),
        (("--field", "email", "--empty"), "email"),
    ],
)
def test_what_does_not_suit_changes_nothing(project: NearProject, words: tuple[str, ...], says: str) -> None:
    (failed,) = project.failures()
    before = project.run("record", "customer", str(failed["record"]), "--json").out
    project.run("failures", "mend", str(failed["id"]), *words, expect=2).says(says)
    assert project.run("record", "customer", str(failed["record"]), "--json").out == before


@pytest.mark.parametrize("number", ["999", "0", str(2**70)])
def test_a_failure_that_there_is_not(project: NearProject, number: str) -> None:
    project.run("failures", "mend", number, "--value", "x", expect=2).says("there is no failure")


def test_a_row_that_could_not_be_understood_is_mended_where_it_stands(project: NearProject) -> None:
    project.write_csv("sheet", [(ANN[0], LONG, "lots", ANN[3]), *PEOPLE[1:]])
    project.sync(expect={0, 3})
    (failed,) = (one for one in project.failures() if one["stage"] == "map")
    project.run("failures", "mend", str(failed["id"]), "--value", "1", expect=2).says("mend it in sheet")
