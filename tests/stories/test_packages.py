"""A nightly batch between two houses: what goes out arrives, what is wrong is told as what it is, and nothing is half-done."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from frictionless import Package

from tests.system.cli.tool import Ended, Project
from tests.unit.exchange.packages import edited, restated
from trueup.sealing import new_key

SALES = """\
state: sales/state.db
systems:
  shop:   {connector: csv, path: shop.csv}
  office: {connector: csv, path: office.csv}
entities:
  invoice:
    match: [[number]]
    source_of_truth: shop
    deletes: {from: [shop], action: propagate}
    guard: off
    fields: {number: text, customer: text, total: {type: decimal, scale: 2}}
    mappings:
      shop:   {key: No, fields: {number: No, customer: Customer, total: Total}}
      office: {key: Number, create: true, fields: {number: Number, customer: Name, total: Amount}}
packages:
  out: {export: invoice, to: place%s}
"""
OFFICE = """\
state: books/state.db
systems:
  sales:  {connector: jsonl, path: received}
  ledger: {connector: csv, path: ledger.csv}
entities:
  invoice:
    match: [[number]]
    source_of_truth: sales
    deletes: {from: [sales], action: propagate}
    guard: off
    fields: {number: text, customer: text, total: {type: decimal, scale: 2, min: 0}}
    mappings:
      sales:
        {object: invoice.jsonl, key: trueup_id, direction: read, create: true, fields: {number: number, customer: customer, total: total}}
      ledger: {key: Invoice, create: true, fields: {number: Invoice, customer: Debtor, total: Amount}}
packages:
  come: {import: invoice, from: place, system: sales%s}
"""
HEADER = "No,Customer,Total\n"
FIRST = ("A-1,Sample & Sons,1200.1", "A-2,O'Neill „x“ 👩‍💻,49.9", "A-3,שלום,7")


@dataclass
class Houses:
    """Sales and the office, in one folder, with a place between them."""

    project: Project

    def shop(self, *rows: str) -> None:
        """What the shop holds, and agreed upon by sales."""
        self.project.write("shop.csv", HEADER + "".join(f"{row}\n" for row in rows))
        self.project.trueup("-c", "sales.yaml", "sync").expect(0)

    def export(self, *words: str) -> Any:
        """A package is sent."""
        return self.project.trueup("-c", "sales.yaml", "export", "invoice", *words, "--json").expect(0).json

    def come(self, *words: str, status: int = 0, place: str = "place") -> list[dict[str, Any]]:
        """The office takes in what is there."""
        return self.taken(self.project.trueup("-c", "office.yaml", "import", place, *words, "--json").expect(status))

    @staticmethod
    def taken(ended: Ended) -> list[dict[str, Any]]:
        """What became of each package."""
        parts: list[dict[str, Any]] = ended.json
        return [one for part in parts for one in part["packages"]]

    @property
    def place(self) -> Path:
        """The place between them."""
        return self.project.folder / "place"

    @property
    def ledger(self) -> list[str]:
        """The rows of the ledger."""
        file = self.project.folder / "ledger.csv"
        return sorted(file.read_text(encoding="utf-8").splitlines()[1:]) if file.exists() else []

    def answer(self, number: int) -> dict[str, Any]:
        """What the office said of a package; the judge of the format looks at it as well."""
        file = self.place / f"invoice-{number:06d}-ack" / "datapackage.json"
        assert Package(str(file)).validate().valid
        said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["trueup"]
        return said

    def standing(self, config: str = "sales.yaml", status: int = 0) -> dict[str, Any]:
        """How the packages of one side stand."""
        found: dict[str, Any] = self.project.trueup("-c", config, "packages", "--json").expect(status).json[0]
        return found


def houses(folder: Path, sales: str = "", office: str = "") -> Houses:
    """Both, with three invoices agreed upon at sales."""
    project = Project(folder)
    (folder / "place").mkdir()
    project.write("sales.yaml", SALES % sales)
    project.write("office.yaml", OFFICE % office)
    made = Houses(project)
    made.shop(*FIRST)
    return made


@pytest.fixture
def two(tmp_path: Path) -> Houses:
    return houses(tmp_path)


def kinds(taken: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(one["package"], one["status"], one["kind"]) for one in taken]


# ---------------------------------------------------------------- what goes well


@pytest.mark.parametrize("words", [(), pytest.param(("--format", "jsonl", "--zip"), marks=pytest.mark.slow)], ids=["csv", "jsonl.zip"])
def test_what_sales_agrees_on_is_in_the_ledger_and_sales_hears_of_it(two, words):
    sent = two.export(*words)
    assert (sent["rows"], sent["gone"], sent["totals"]) == (3, 0, {"total": "1257"})
    if not words:
        assert Package(str(two.place / "invoice-000001" / "datapackage.json")).validate().valid
    [taken] = two.come()
    assert (taken["status"], taken["rows"], taken["run_status"]) == ("accepted", 3, "done")
    assert two.ledger == sorted(FIRST)
    said = two.answer(1)
    assert (said["status"], said["rows"], said["totals"], said["waiting"]) == ("accepted", 3, {"total": "1257"}, 0)
    assert two.standing()["answer"]["status"] == "accepted"
    assert two.come() == []

    two.shop("A-1,Sample & Sons,1300", "A-3,שלום,7", "A-4,New,1")
    assert two.export(*words)["gone"] == 1
    assert kinds(two.come()) == [("invoice-000002.zip" if words else "invoice-000002", "accepted", None)]
    assert two.ledger == ["A-1,Sample & Sons,1300", "A-3,שלום,7", "A-4,New,1"]
    assert [path.name for path in two.place.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_several_packages_that_wait_are_taken_in_their_order(two):
    two.export()
    two.shop(*FIRST[:2])
    two.export()
    two.shop(*FIRST)
    two.export()
    assert [one["package"] for one in two.come()] == ["invoice-000001", "invoice-000002", "invoice-000003"]
    assert two.ledger == sorted(FIRST)
    runs = two.project.trueup("-c", "office.yaml", "runs", "--json").json
    assert len(runs) == 3


@pytest.mark.slow
def test_a_package_of_nothing(two):
    two.shop()
    two.export()
    assert [one["rows"] for one in two.come()] == [0]
    assert two.ledger == []


def test_signed_and_encrypted(tmp_path, monkeypatch):
    for name in ("SIGN", "SHARED", "OLD"):
        monkeypatch.setenv(name, new_key().text)
    two = houses(tmp_path, ', sign: "${SIGN}", encrypt: "${SHARED}"')
    public = two.standing()["public_key"]
    two.project.write("office.yaml", OFFICE % f', signers: [{public}], encrypt: ["${{OLD}}", "${{SHARED}}"]')
    two.export()
    assert [path.name for path in two.place.iterdir()] == ["invoice-000001.zip.sealed"]
    assert b"Sample" not in (two.place / "invoice-000001.zip.sealed").read_bytes()
    assert kinds(two.come()) == [("invoice-000001.zip.sealed", "accepted", None)]
    assert two.ledger == sorted(FIRST)
    # What is in the clear, or signed by nobody, is not taken where it must not be.
    two.project.write("sales.yaml", SALES % "")
    two.export()
    assert kinds(two.come(status=3)) == [("invoice-000002", "refused", "tampered")]
    two.project.write("sales.yaml", SALES % ', encrypt: "${SHARED}"')
    two.export()
    assert kinds(two.come(status=3)) == [("invoice-000003.zip.sealed", "refused", "tampered")]
    assert two.ledger == sorted(FIRST)


def test_the_records_as_of_the_cut_off(two):
    two.shop("A-1,Sample & Sons,1200.1", "A-2,Before,1", "A-3,שלום,7")
    time.sleep(0.01)
    moment = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    two.shop("A-1,Sample & Sons,9999", "A-2,After,2", "A-4,Born later,4")
    two.shop("A-1,Sample & Sons,8888", "A-2,After,2", "A-4,Born later,5")
    sent = two.export("--cutoff", moment)
    assert (sent["rows"], sent["gone"], sent["totals"]) == (3, 0, {"total": "1208.1"})
    two.come()
    assert two.ledger == ["A-1,Sample & Sons,1200.1", "A-2,Before,1", "A-3,שלום,7"]
    earlier = two.project.trueup("-c", "sales.yaml", "export", "invoice", "--cutoff", "2020-01-01").expect(2)
    assert "which is after this cut-off" in earlier.err
    assert "in the future" in two.project.trueup("-c", "sales.yaml", "export", "invoice", "--cutoff", "2999-01-01").expect(2).err
    sent = two.export()
    assert (sent["rows"], sent["gone"], sent["totals"]) == (3, 1, {"total": "8895"})
    two.come()
    assert two.ledger == ["A-1,Sample & Sons,8888", "A-2,After,2", "A-4,Born later,5"]


def test_single_fields_go_out(tmp_path):
    two = houses(tmp_path, ", fields: [number, total]")
    two.export()
    header = (two.place / "invoice-000001" / "invoice.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "trueup_id,number,total"
    [taken] = two.come(status=3)
    assert (taken["status"], taken["kind"]) == ("refused", "wrong")
    assert "it has no column customer" in taken["why"]


# ---------------------------------------------------------------- what goes wrong


def spoil_rows(folder: Path) -> None:
    edited(folder, "invoice.csv", b",7\n", b",-7\n")
    restated(folder, totals={"total": "1243"})


def lose_a_record(folder: Path) -> None:
    lines = (folder / "invoice.csv").read_bytes().splitlines(keepends=True)
    (folder / "invoice.csv").write_bytes(b"".join(lines[:-1]))
    restated(folder, rows=2, totals={"total": "1250"})


SPOILT: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a value changed on the way": (lambda folder: edited(folder, "invoice.csv", b"1200.1", b"9200.1"), "tampered", "SHA-256"),
    "a row that cannot be taken here": (spoil_rows, "wrong", "below the minimum of 0"),
    "a record that vanished": (lose_a_record, "wrong", "neither there nor told as gone"),
    "a total that does not fit": (lambda folder: restated(folder, totals={"total": "1"}), "wrong", "adds up to 1257"),
}


QUICK = {"a row that cannot be taken here", "a record that vanished"}  # the others are found in unit tests, too


@pytest.mark.parametrize("what", [pytest.param(what, marks=[] if what in QUICK else [pytest.mark.slow]) for what in SPOILT])
def test_a_spoilt_package_is_refused_as_a_whole_answered_and_the_next_one_taken(two, what):
    spoil, kind, why = SPOILT[what]
    two.export()
    two.come()
    two.export()
    spoil(two.place / "invoice-000002")
    before = two.project.files()
    [taken] = two.come(status=3)
    assert (taken["status"], taken["kind"], taken["run"]) == ("refused", kind, None)
    assert why in taken["why"]
    assert two.ledger == sorted(FIRST)
    assert two.project.files() - before == {f"place/invoice-000002-ack/{name}" for name in ("datapackage.json", "problems.csv")}
    said = two.answer(2)
    assert (said["status"], said["kind"], said["rows"]) == ("refused", kind, 0)
    assert why in said["why"]
    assert two.standing()["answer"]["kind"] == kind
    assert two.standing("office.yaml", status=3)["trouble"]["kind"] == kind
    two.shop(*FIRST, "A-4,Next,1")
    two.export()
    assert kinds(two.come()) == [("invoice-000003", "accepted", None)]
    assert len(two.ledger) == 4
    assert two.standing("office.yaml")["trouble"] is None


def test_a_row_that_cannot_be_taken_waits_alone_where_the_settings_say_so(tmp_path):
    two = houses(tmp_path, office=", whole: false")
    two.export()
    spoil_rows(two.place / "invoice-000001")
    [taken] = two.come(status=3)
    assert (taken["status"], taken["rows"], taken["waiting"], taken["run_status"]) == ("accepted", 3, 1, "partial")
    assert two.ledger == sorted(FIRST[:2])
    problems = (two.place / "invoice-000001-ack" / "problems.csv").read_text(encoding="utf-8")
    assert problems.splitlines()[1].startswith("3,total,")


def test_a_package_that_is_being_copied_waits_until_it_is_whole(two):
    two.export()
    whole = two.project.folder / "whole"
    shutil.move(two.place / "invoice-000001", whole)
    half = two.place / "invoice-000001"
    half.mkdir()
    for name in ("datapackage.json", "invoice.csv", "invoice-gone.csv"):
        content = (whole / name).read_bytes()
        for part in (content[: len(content) // 2], content):
            assert kinds(two.come(status=3)) == [("invoice-000001", "waits", "half-copied")]
            (half / name).write_bytes(part)
    assert two.standing("office.yaml", status=3)["trouble"]["kind"] == "half-copied"
    assert two.ledger == []
    assert kinds(two.come()) == [("invoice-000001", "accepted", None)]
    assert two.ledger == sorted(FIRST)
    assert two.standing("office.yaml")["trouble"] is None


def test_a_gap_is_not_passed_over_but_by_a_person(two):
    two.export()
    two.come()
    two.export()
    shutil.rmtree(two.place / "invoice-000002")
    two.shop(*FIRST, "A-4,After the gap,1")
    two.export()
    for _ in range(2):
        [waits] = two.come(status=3)
        assert (waits["status"], waits["kind"], waits["why"]) == (
            "waits",
            "missing",
            "invoice-000002 never came, and invoice-000003 is there",
        )
    assert two.ledger == sorted(FIRST)
    assert not (two.place / "invoice-000003-ack").exists()
    assert kinds(two.come("--next", "3")) == [("invoice-000003", "accepted", None)]
    assert len(two.ledger) == 4


def test_a_number_that_was_there_before_is_not_taken_again(two):
    two.export()
    two.come()
    again = two.come(status=3, place="place/invoice-000001")
    assert kinds(again) == [("invoice-000001", "refused", "repeat")]
    # Another package in the place of one that was taken.
    two.shop("A-1,Somebody else,1")
    two.project.trueup("-c", "sales.yaml", "export", "invoice", "--to", "place").expect(0)
    shutil.rmtree(two.place / "invoice-000001")
    shutil.copytree(two.place / "invoice-000002", two.place / "invoice-000001")
    restated(two.place / "invoice-000001", sequence=1)
    for taken in ([("invoice-000002", "accepted", None)], []):  # it holds up nothing, and is told each time
        assert kinds(two.come(status=3)) == [*taken, ("invoice-000001", "waits", "repeat")]
    assert two.ledger == ["A-1,Somebody else,1"]
    shutil.rmtree(two.place / "invoice-000001")
    shutil.copytree(two.place / "invoice-000002", two.project.folder / "moved")  # a copy, with other times, is the same one
    shutil.rmtree(two.place / "invoice-000002")
    shutil.copytree(two.project.folder / "moved", two.place / "invoice-000002", copy_function=shutil.copyfile)
    assert two.come() == []
    # Two of one number.
    two.export()
    (two.place / "invoice-000003.zip").write_bytes(b"x")
    assert kinds(two.come(status=3)) == [("invoice-000003", "waits", "repeat")]


@pytest.mark.slow
def test_a_number_is_never_given_twice(two):
    assert two.export()["package"] == "invoice-000001"
    shutil.rmtree(two.place / "invoice-000001")  # whoever takes packages away does not make their numbers free
    assert two.export()["package"] == "invoice-000002"
    shutil.rmtree(two.project.folder / "sales")  # nor does a state that was lost: the place knows them
    two.project.trueup("-c", "sales.yaml", "sync").expect(0)
    assert two.export()["package"] == "invoice-000003"


def test_sales_is_told_where_another_package_than_its_own_was_accepted(two):
    two.export()
    edited(two.place / "invoice-000001", "invoice.csv", b",7\n", b",8\n")
    restated(two.place / "invoice-000001", totals={"total": "1258"})
    assert kinds(two.come()) == [("invoice-000001", "accepted", None)]  # nobody signed, so nobody can tell here
    assert "is not the package that was sent" in two.standing()["answer"]["why"]


CUSTOMERS = """\
  customer:
    match: [[email]]
    fields: {email: text}
    mappings: {%s}
"""


def test_a_reference_is_resolved_at_the_receiver_whose_own_keys_are_others(tmp_path):
    project = Project(tmp_path)
    (tmp_path / "place").mkdir()
    orders = (
        "  order:\n    match: [[number]]\n    fields: {number: text, customer: {type: reference, entity: customer}}\n    mappings: {%s}\n"
    )
    ours = "%s: {object: customers, key: id, fields: {email: email}}"
    their = "%s: {object: orders, key: id, fields: {number: number, customer: customer}}"
    project.write(
        "sales.yaml",
        "state: sales/state.db\nsystems:\n  shop: {connector: sqlite, path: shop.db}\n  till: {connector: sqlite, path: till.db}\n"
        "entities:\n" + CUSTOMERS % f"{ours % 'shop'}, {ours % 'till'}" + orders % f"{their % 'shop'}, {their % 'till'}",
    )
    come = "sales: {object: %s.jsonl, key: trueup_id, direction: read, create: true, fields: {%s}}"
    project.write(
        "office.yaml",
        "state: books/state.db\nsystems:\n  sales: {connector: jsonl, path: received}\n  books: {connector: sqlite, path: books.db}\n"
        "entities:\n"
        + CUSTOMERS % f"{come % ('customer', 'email: email')}, {ours % 'books'}"
        + orders % f"{come % ('order', 'number: number, customer: customer')}, {their % 'books'}",
    )
    for database in ("shop.db", "till.db", "books.db"):
        project.sql("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT)", database=database)
        project.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, customer INTEGER)", database=database)
    project.sql("INSERT INTO customers VALUES (10, 'a@example.org'), (11, 'b@example.org')", database="shop.db")
    project.sql("INSERT INTO orders VALUES (1, 'N-1', 11)", database="shop.db")
    project.sql("INSERT INTO customers VALUES (77, 'b@example.org')", database="books.db")
    project.trueup("-c", "sales.yaml", "sync").expect(0)
    for entity in ("order", "customer"):
        project.trueup("-c", "sales.yaml", "export", entity, "--to", "place").expect(0)
    # Nothing is said under `packages:`: it is clear which system each entity's packages are.
    project.trueup("-c", "office.yaml", "import", "place").expect(0)
    assert project.sql("SELECT number, customer FROM orders", database="books.db") == [("N-1", 77)]
    assert {path.name for path in (tmp_path / "received").iterdir()} == {"customer.jsonl", "order.jsonl"}


def test_places_that_cannot_be_used(two):
    gone = two.project.trueup("-c", "sales.yaml", "export", "invoice", "--to", "nowhere").expect(1)
    assert "make the folder" in gone.err
    gone = two.project.trueup("-c", "office.yaml", "import", "nowhere").expect(1)
    assert "nowhere" in gone.err
    (two.project.folder / "empty").mkdir()
    unknown = two.project.trueup("-c", "office.yaml", "import", "empty").expect(2)
    assert "nothing is known of packages from" in unknown.err
    absent = two.project.trueup("-c", "office.yaml", "import", "place/invoice-000009").expect(2)
    assert "there is no invoice-000009" in absent.err
    assert "no entity 'bill'" in two.project.trueup("-c", "sales.yaml", "export", "bill", "--to", "place").expect(2).err
    (two.place / "invoice-000001").mkdir()
    (two.place / "invoice-000001" / "x").write_text("x")
    assert two.export()["package"] == "invoice-000002"
    two.place.rename(two.project.folder / "away")
    listed = two.project.trueup("-c", "sales.yaml", "packages").expect(0)
    assert "invoice-000002" in listed.out
    assert "place cannot be used" in listed.err


def test_nothing_was_ever_agreed_upon(tmp_path):
    project = Project(tmp_path)
    (tmp_path / "place").mkdir()
    project.write("sales.yaml", SALES % "")
    ended = project.trueup("-c", "sales.yaml", "export", "invoice").expect(1)
    assert "nothing was ever synced" in ended.err or "sync" in ended.err
    assert list((tmp_path / "place").iterdir()) == []
