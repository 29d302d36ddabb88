"""What a guard held may be left as it is on both sides: nobody is told, nothing is put back, and the next edit of either side counts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.stories.test_mass_damage import PRODUCTS, Trade
from trueup.cli.main import main
from trueup.runtime.run_pass import Pass
from trueup.runtime.workspace import open_workspace
from trueup.store import hold

if TYPE_CHECKING:
    from pathlib import Path

    from trueup.core.facts import Decision


class Killed(BaseException):
    """The end of the process."""


PRICES = "SELECT price FROM products WHERE id <= 40 ORDER BY id"


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    return Trade(tmp_path)


@pytest.fixture
def cli(trade: Trade, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in the project; gives its exit status and its answer as JSON."""
    monkeypatch.chdir(trade.folder)

    def run(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["trueup", *words, "--json"])
        status = main()
        return status, orjson.loads(capsys.readouterr().out or "null")

    return run


def slip(trade: Trade) -> tuple[list[Any], list[Any]]:
    """Forty prices in the shop are a hundred times what they were; gives what the shop and the CRM hold then."""
    trade.ask("shop", "UPDATE products SET price = price * 100 WHERE id <= 40")
    assert trade.sync().status == "held"
    return trade.ask("shop", PRICES), trade.ask("crm", PRICES)


def left(trade: Trade) -> tuple[list[Any], list[Any]]:
    held = slip(trade)
    trade.decide("left")
    summary = trade.sync()
    assert (summary.status, summary.entities["product"].left) == ("done", 40)
    return held


def both(trade: Trade) -> tuple[list[Any], list[Any]]:
    return trade.ask("shop", PRICES), trade.ask("crm", PRICES)


def test_neither_side_is_written_and_it_stays_so(trade: Trade) -> None:
    held = left(trade)
    assert both(trade) == held
    assert trade.held() == []
    with open_workspace(trade.folder / "trueup.yaml") as workspace:
        for full in (False, True):
            summary = workspace.sync(full=full)
            assert summary.status == "done"
            assert summary.entities["product"].left == 0
    assert both(trade) == held


def test_an_edit_of_either_side_counts_again(trade: Trade) -> None:
    held = left(trade)
    trade.ask("shop", "UPDATE products SET price = '7.00' WHERE id = 1")
    trade.ask("crm", "UPDATE products SET price = '8.00' WHERE id = 2")
    trade.ask("crm", "UPDATE products SET note = 'other' WHERE id = 3")
    assert trade.sync().status == "done"
    shop, crm = both(trade)
    assert float(shop[0][0]) == float(crm[0][0]) == 7
    assert float(shop[1][0]) == float(crm[1][0]) == 8
    assert (shop[2:], crm[2:]) == (held[0][2:], held[1][2:])
    assert trade.ask("shop", "SELECT note FROM products WHERE id = 3") == [("other",)]


def test_it_is_shown_by_verify_status_explain_and_the_audit_trail(trade: Trade, cli: Any) -> None:
    slip(trade)
    ((number,),) = [(row["id"],) for row in cli("holds")[1]]
    assert cli("holds", "leave", str(number)) == (0, {"id": number, "decision": "left", "ceiling": None})
    planned = cli("plan")[1]["entities"]["product"]
    assert planned["left"] == 40
    assert all(part["delivered"]["updated"] == 0 for part in planned["systems"].values())
    status, told = cli("sync")
    assert (status, told["entities"]["product"]["left"]) == (0, 40)
    status, found = cli("verify")
    assert status == 0
    assert found["entities"]["product"]["agree"] is True
    assert {name: part["apart"] for name, part in found["entities"]["product"]["systems"].items()} == {"crm": 0, "shop": 40}
    assert cli("status")[1]["entities"]["product"]["systems"]["shop"]["apart"] == 40
    story = cli("explain", "product", "shop:1", "price")[1]
    assert "left both as they are in run 3" in str(story)
    trail = cli("audit")[1]
    assert any(line["what"].get("decision") == "left" for line in (trail["lines"] if isinstance(trail, dict) else trail))
    before = both(trade)
    status, _repaired = cli("verify", "--repair")
    assert (status, both(trade)) == (0, before)


def killed_half_way(trade: Trade, answer: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Answer the hold, and kill the pass that carries it out; gives how many edits were taken in before."""
    trade.decide(answer)
    taken: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr("trueup.runtime.run_pass.RECONCILED_ROWS", 10)
        patch.setattr("trueup.runtime.chunks.CHUNK_ROWS", 12, raising=True)
        done = Pass._take_in

        def dies(self: Pass, decision: Decision) -> None:
            if len(taken) == 3:
                raise Killed
            taken.append(decision.left + decision.overruled)
            done(self, decision)

        patch.setattr(Pass, "_take_in", dies)
        with pytest.raises(Killed):
            trade.sync()
    assert not [one.name for one in threading.enumerate() if one.name.startswith(("deliver", "record"))], "nothing goes on behind it"
    return sum(taken)


def test_a_pass_that_is_killed_half_way_is_simply_run_again(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    held = slip(trade)
    taken = killed_half_way(trade, "left", monkeypatch)
    assert 0 < taken < 40
    summary = trade.sync()
    assert (summary.status, taken + summary.entities["product"].left) == ("done", 40)
    assert both(trade) == held


def test_a_refusal_survives_a_kill_as_well(trade: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    _shop, crm = slip(trade)
    assert 0 < killed_half_way(trade, "refused", monkeypatch) < 40
    trade.sync()
    assert trade.ask("crm", PRICES) == crm
    assert [float(row[0]) for row in trade.ask("shop", PRICES)] == [float(row[0]) for row in crm]


def test_undo_makes_it_count_again(trade: Trade, cli: Any) -> None:
    held = left(trade)
    assert cli("undo", "3", "--plan")[1]["undo"]["left"] == 40
    status, told = cli("undo", "3")
    assert (status, told["undo"]["left"], told["undo"]["values"]) == (0, 40, 0)
    assert both(trade) == held
    assert cli("sync")[0] == 4
    assert both(trade) == held
    trade.decide("refused")
    trade.sync()
    assert [float(row[0]) for row in trade.ask("shop", PRICES)] == [float(row[0]) for row in held[1]]


def test_an_edit_made_before_the_undo_is_not_touched(trade: Trade, cli: Any) -> None:
    left(trade)
    trade.ask("shop", "UPDATE products SET price = '7.00' WHERE id = 1")
    trade.sync()
    assert cli("undo", "3")[1]["undo"]["left"] == 39


def test_rows_that_are_gone_stay_gone_and_their_records_stay(trade: Trade, cli: Any) -> None:
    path = trade.folder / "trueup.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "    deletes: {from: [shop], action: propagate}\n", encoding="utf-8")
    trade.sync()
    trade.ask("shop", "DELETE FROM products WHERE id <= 40")
    assert trade.sync().status == "held"
    trade.decide("left")
    summary = trade.sync().entities["product"]
    assert (summary.left, summary.deleted, summary.missing) == (40, 0, 0)
    assert trade.ask("shop", "SELECT count(*) FROM products") == [(PRODUCTS - 40,)]
    assert trade.ask("crm", "SELECT count(*) FROM products") == [(PRODUCTS,)]
    assert trade.sync().status == "done"
    status, found = cli("verify")
    systems = found["entities"]["product"]["systems"]
    assert (status, systems["shop"]["apart"], systems["shop"]["waiting"]) == (0, 40, 0)
    standing = cli("status")[1]["entities"]["product"]["systems"]["shop"]
    assert (standing["apart"], standing["missing"]) == (40, 0)
    # The record lives on: an edit elsewhere counts, and the row is not made again for it.
    trade.ask("crm", "UPDATE products SET note = 'other' WHERE id <= 2")
    assert trade.sync().status == "done"
    assert trade.ask("shop", "SELECT count(*) FROM products") == [(PRODUCTS - 40,)]
    # An undo of what was left lets the deletes count again.
    assert cli("undo", "4")[1]["undo"]["left"] == 40
    assert trade.sync().status == "held"


def test_a_decision_of_one_system_leaves_the_others_alone(trade: Trade) -> None:
    slip(trade)
    trade.ask("crm", "UPDATE products SET note = 'from the crm' WHERE id = 100")
    trade.decide("left")
    trade.sync()
    assert trade.ask("shop", "SELECT note FROM products WHERE id = 100") == [("from the crm",)]
    with open_workspace(trade.folder / "trueup.yaml") as workspace, workspace.store.read() as db:
        assert hold.of(db).is_empty()
