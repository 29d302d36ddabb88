"""What is promised of rows that nobody touched, where a real server could break the promise."""

from __future__ import annotations

import psycopg
import pytest

from tests.system.connectors.sql_tools import batch, statuses
from trueup.connectors import postgres_rows
from trueup.connectors.postgres import PostgresConnector
from trueup.connectors.postgres_marks import touched_since, with_own
from trueup.model import ObjectSpec

OBJECT = ObjectSpec(name="t", key=("id",))


@pytest.fixture
def database(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, name text)")
        connection.execute("INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 5) n")
        yield connection


@pytest.fixture(params=["few", "many"])
def crm(request, postgres_url, database, monkeypatch):
    """Few rows and many are read in different ways, which must not show."""
    if request.param == "many":
        monkeypatch.setattr(postgres_rows, "FEW_ROWS", -1)
    connector = PostgresConnector.open("crm", {"url": postgres_url})
    yield connector
    connector.close()


def moved(crm: PostgresConnector, mark: str, obj: ObjectSpec = OBJECT) -> tuple[dict[str, str], list[str]] | None:
    """(key -> name of the rows shown, keys told alone), None where the mark does not hold."""
    reading = crm.moved(obj, ["name"], mark)
    if reading is None:
        return None
    pages = list(reading)
    shown = {key: name for page in pages for key, name in page.rows.iter_rows()}
    return shown, sorted(key for page in pages if page.same is not None for key in page.same.to_list())


def test_rows_that_nobody_touched_are_told_by_key_alone(crm, database):
    mark = crm.mark(OBJECT)
    database.execute("UPDATE t SET name = 'new' WHERE id = 2")
    database.execute("DELETE FROM t WHERE id = 3")
    assert moved(crm, mark) == ({"2": "new"}, ["1", "4", "5"])
    assert moved(crm, crm.mark(OBJECT)) == ({}, ["1", "2", "4", "5"])


def test_what_an_open_transaction_commits_after_the_mark_is_shown(crm, database, postgres_url):
    with psycopg.connect(postgres_url) as other:
        other.execute("UPDATE t SET name = 'late' WHERE id = 1")
        with other.transaction():
            other.execute("UPDATE t SET name = 'later' WHERE id = 2")
        database.execute("UPDATE t SET name = 'early' WHERE id = 3")
        mark = crm.mark(OBJECT)
        assert dict(next(crm.read(OBJECT, ["name"])).rows.iter_rows())["1"] == "name 1"
        other.commit()
    found = moved(crm, mark)
    assert found is not None
    assert (found[0]["1"], found[0]["2"]) == ("late", "later")


def test_an_update_that_was_undone_changes_nothing(crm, database, postgres_url):
    mark = crm.mark(OBJECT)
    with psycopg.connect(postgres_url) as other:
        other.execute("UPDATE t SET name = 'undone'")
        other.rollback()
    assert moved(crm, mark) == ({}, ["1", "2", "3", "4", "5"])


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t ADD COLUMN more text DEFAULT 'x'",
        "ALTER TABLE t ALTER COLUMN name TYPE varchar(50)",
        "ALTER TABLE t RENAME COLUMN name TO called; ALTER TABLE t ADD COLUMN name text",
        "TRUNCATE t; INSERT INTO t VALUES (1, 'other')",
        "CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u SELECT * FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE TABLE part () INHERITS (t)",
    ],
)
def test_a_mark_does_not_outlive_its_table(crm, database, change):
    mark = crm.mark(OBJECT)
    assert mark is not None
    database.execute(change)
    crm.describe(OBJECT)  # as at the beginning of every run
    assert moved(crm, mark) is None


def test_a_label_of_an_enum_is_a_part_of_the_rows(crm, database):
    database.execute("CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE t ADD COLUMN mood mood DEFAULT 'good'")
    crm.describe(OBJECT)
    mark = crm.mark(OBJECT)
    assert moved(crm, mark) == ({}, ["1", "2", "3", "4", "5"])
    database.execute("ALTER TYPE mood RENAME VALUE 'good' TO 'fine'")
    assert moved(crm, mark) is None


@pytest.mark.parametrize(
    ("what", "obj"),
    [
        ("CREATE VIEW v AS SELECT * FROM t", ObjectSpec(name="v", key=("id",))),
        ("CREATE TABLE p (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)", ObjectSpec(name="p", key=("id",))),
        ("CREATE TABLE k (id bigint, name text)", ObjectSpec(name="k", key=("id",))),
        ("CREATE TABLE r (id bigint PRIMARY KEY, name regclass)", ObjectSpec(name="r", key=("id",))),
        ("CREATE TYPE pair AS (a int, b int); CREATE TABLE c (id bigint PRIMARY KEY, name pair)", ObjectSpec(name="c", key=("id",))),
        ("SELECT 1", ObjectSpec(name=None, sql="SELECT id, name FROM t", key=("id",))),
    ],
    ids=["view", "partitioned", "no unique key", "names of other things", "composite type", "query"],
)
def test_nothing_is_promised_of(crm, database, what, obj):
    database.execute(what)
    assert crm.mark(obj) is None


def test_composite_keys_and_values_that_do_not_fit(crm, database):
    database.execute(
        "CREATE TABLE d (a int, b text, day date, PRIMARY KEY (a, b)); INSERT INTO d VALUES (1, 'x|y', 'infinity'), (2, 'z', NULL)"
    )
    obj = ObjectSpec(name="d", key=("a", "b"))
    mark = crm.mark(obj)
    database.execute("UPDATE d SET day = '-infinity' WHERE a = 1")
    pages = list(crm.moved(obj, ["day"], mark))
    assert [(reject.key, reject.column) for page in pages for reject in page.rejected] == [("1|x\\|y", "day")]
    assert [page.same.to_list() for page in pages if page.same is not None] == [["2|z"]]


def written(crm: PostgresConnector, *names: str | None) -> list[str]:
    """Create rows of these names in one batch; their outcomes."""
    return statuses(
        crm, OBJECT, batch("create", [None] * len(names), {"id": range(10, 10 + len(names)), "name": list(names)}, returning=["name"])
    )


def test_rows_that_we_wrote_are_known_and_what_becomes_of_them_is_shown(crm, database):
    mark = crm.mark(OBJECT)
    assert written(crm, "a", "b", "c") == ["done"] * 3
    known = crm.own(OBJECT, mark)
    assert moved(crm, known) == ({}, ["1", "10", "11", "12", "2", "3", "4", "5"])
    database.execute("UPDATE t SET name = 'edited' WHERE id IN (3, 11)")
    assert moved(crm, known) == ({"3": "edited", "11": "edited"}, ["1", "10", "12", "2", "4", "5"])


def test_rows_of_a_batch_with_a_refused_row_are_read_again(crm, database):
    database.execute("ALTER TABLE t ALTER COLUMN name SET NOT NULL")
    crm.describe(OBJECT)
    mark = crm.mark(OBJECT)
    assert written(crm, "a", None, "c") == ["done", "rejected", "done"]
    assert moved(crm, crm.own(OBJECT, mark)) == ({"10": "a", "12": "c"}, ["1", "2", "3", "4", "5"])


def test_rows_that_a_trigger_changes_are_read_again(crm, database):
    database.execute(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET name = upper(new.name) WHERE id = new.id;"
        " RETURN NULL; END $$; CREATE TRIGGER shout AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION shout()"
    )
    crm.describe(OBJECT)
    mark = crm.mark(OBJECT)
    written(crm, "a", "b")
    assert moved(crm, crm.own(OBJECT, mark)) == ({"10": "A", "11": "B"}, ["1", "2", "3", "4", "5"])


def test_own_transactions_are_named_in_runs():
    assert with_own("place:7", []) == "place:7"
    mark = with_own("place:7", [9, 8, 12, 10])
    assert mark == "place:7+8-10,12-12"
    condition = touched_since(mark, "place:20")
    assert condition is not None
    assert condition.count("NOT age(t.xmin) BETWEEN") == 2
    assert len(with_own("place:7", range(0, 1_000, 2)).split(",")) == 50


def test_a_mark_is_given_up_where_numbers_went_back_or_far_ahead():
    assert touched_since("place:7", "place:7") == "(age(t.xmin) <= (SELECT age('7'::xid)))"
    assert touched_since(f"place:{(1 << 32) + 9}", f"place:{(1 << 32) + 10}") == "(age(t.xmin) <= (SELECT age('9'::xid)))"
    assert touched_since("place:8", "place:7") is None  # the database was put back to an earlier time
    assert touched_since("place:7", f"place:{7 + (1 << 30)}") is None
    assert touched_since("place:7", "another:7") is None
    assert touched_since("place:7", None) is None
    assert touched_since("nonsense", "nonsense") is None
