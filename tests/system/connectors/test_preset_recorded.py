"""The presets of Directus and Strapi against what running copies of them answered (`presets/*.recorded.json` says which versions).

`play` is what was played against the running copy; a request that differs from the one that was recorded fails.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.system.connectors.preset_tools import Exchange, Vendor, batch, opened, outcomes, read, rows
from trueup.connectors.rest.connector import RestConnector
from trueup.errors import AccessRefusedError
from trueup.model import ObjectSpec

HERE = Path(__file__).parent / "presets"
PRODUCTS = {
    "directus": ObjectSpec(name="products", key=("id",), modified="date_updated"),
    "strapi": ObjectSpec(name="products", key=("documentId",), modified="updatedAt"),
}


def play(name: str, connector: RestConnector) -> dict[str, Any]:
    """Make, read, find, change and delete products; what came of it. The collection holds one product, Oak, before."""
    obj = PRODUCTS[name]
    columns = ("sku", "name", "price", "active")
    told: dict[str, Any] = {"columns": {column: facts.type for column, facts in connector.describe(obj).columns.items()}}
    new = [(None, {"sku": f"s{number}", "name": f"Stühle № {number} 🪑", "price": "12.5", "active": True}) for number in range(3)]
    made = outcomes(
        connector, obj, batch("create", *new, (None, {"sku": "s0", "name": "once more"}), (None, {"sku": "s9", "price": "12.5"}))
    )
    keys = [one["key"] for one in made]
    told["made"] = [(one["status"], one["reason"] or "", one["field"]) for one in made]
    pages = read(connector, obj, columns, page_rows=2)
    told["read"] = sorted(
        (row["sku"], row["name"], Decimal(row["price"]), row["active"]) for row in rows(pages) if row["__key"] in keys[:3]
    )
    told["complete"] = pages[-1].complete
    since = pages[-1].cursor or "2026-01-01T00:00:00+00:00"
    seen = [{"__version": None, "price": "12.5"}, {"__version": None, "price": "99"}]
    changed = batch("update", (keys[0], {"price": "13.75"}), (keys[1], {"price": "13.75"}), expected=seen)
    told["changed"] = [one["status"] for one in outcomes(connector, obj, changed)]
    cleared = batch("update", (keys[2], {"name": "Bank", "active": None}), expected=[{"__version": None, "active": True}])
    told["cleared"] = [one["status"] for one in outcomes(connector, obj, cleared)]
    told["since"] = sorted({row["sku"] for row in rows(read(connector, obj, columns, since=since))})
    told["by key"] = sorted(
        (row["sku"], Decimal(row["price"]), row["active"]) for row in rows(read(connector, obj, columns, keys=[*keys[:3], "987654"]))
    )
    looked_for = batch("create", (None, {"sku": "s1"})).rows.select("sku")
    told["found"] = connector.find(obj, columns, looked_for)["sku"].to_list()
    gone = batch(
        "delete", (keys[0], {}), (keys[1], {}), ("987654", {}), expected=[{"__version": None, "sku": f"s{number}"} for number in (0, 1, 8)]
    )
    told["deleted"] = [one["status"] for one in outcomes(connector, obj, gone)]
    told["left"] = sorted(str(row["sku"]) for row in rows(read(connector, obj, ("sku",))))
    return told


def _recorded(name: str) -> list[Exchange]:
    exchanges = []
    for one in json.loads((HERE / f"{name}.recorded.json").read_text(encoding="utf-8"))["exchanges"]:

        def fits(query: dict[str, str], body: Any, one: dict[str, Any] = one) -> bool:
            return (query, body) == (one["query"], one["sent"])

        exchanges.append(Exchange(one["method"], one["path"], one["answer"], one["status"], when=fits))
    return exchanges


@pytest.mark.parametrize("name", ["directus", "strapi"])
def test_what_a_running_copy_answered(name):
    vendor = Vendor(None, _recorded(name))
    prefix = {"strapi": "/api"}.get(name, "")
    try:
        told = play(name, opened(name, vendor, prefix, secrets={"token": "token-of-a-test"}, values={"host": "cms.example.com"}))
    finally:
        vendor.close()
    vendor.check()
    assert [status for status, _, _ in told["made"]][:4] == ["done", "done", "done", "rejected"]
    assert "unique" in told["made"][3][1]
    assert told["made"][3][2] == "sku"
    assert told["made"][4][0] == {"directus": "done", "strapi": "rejected"}[name]  # only Strapi was told that a name is required
    assert told["read"] == [(f"s{number}", f"Stühle № {number} 🪑", Decimal("12.5"), True) for number in range(3)]
    assert told["complete"]
    assert told["changed"] == ["done", "stale"]
    assert told["cleared"] == ["done"]
    assert {"s0", "s2"} <= set(told["since"])
    assert told["by key"] == [("s0", Decimal("13.75"), True), ("s1", Decimal("12.5"), True), ("s2", Decimal("12.5"), None)]
    assert told["found"] == ["s1"]
    assert told["deleted"] == ["done", "done", "gone"]
    assert "s2" in told["left"]
    assert not {"s0", "s1"} & set(told["left"])


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("directus", {"errors": [{"message": "Invalid user credentials.", "extensions": {"code": "INVALID_CREDENTIALS"}}]}),
        (
            "strapi",
            {
                "data": None,
                "error": {"status": 401, "name": "UnauthorizedError", "message": "Missing or invalid credentials", "details": {}},
            },
        ),
    ],
)
def test_a_wrong_token_is_told(name, answer):
    path = {"directus": "/fields/products", "strapi": "/api/products"}[name]
    vendor = Vendor(None, [Exchange("GET", path, answer, 401)])
    try:
        connector = opened(name, vendor, {"strapi": "/api"}.get(name, ""), secrets={"token": "wrong"}, values={"host": "cms.example.com"})
        with pytest.raises(AccessRefusedError, match="credentials"):
            connector.describe(PRODUCTS[name])
    finally:
        vendor.close()
