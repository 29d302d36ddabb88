"""The Shopify preset: its questions are valid under Shopify's own schema, and its answers have the shapes that the schema gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate
from graphql.execution.values import get_variable_values
from graphql.language import OperationDefinitionNode

from tests.system.connectors.preset_tools import Exchange, Vendor, batch, opened, outcomes, read, rows
from trueup.errors import ObjectMissingError
from trueup.model import ObjectSpec

G = "/graphql.json"
CUSTOMERS = ObjectSpec(name="customers", key=("id",), modified="updatedAt")
STOCK = ObjectSpec(name="stock", key=("id",))
VARIANTS = ObjectSpec(name="variants", key=("id",))
ADA: dict[str, Any] = {
    "id": "gid://shopify/Customer/544365967",
    "firstName": "Ada",
    "lastName": "Lovelace",
    "email": "ada@example.com",
    "phone": None,
    "note": None,
    "tags": ["vip"],
    "taxExempt": False,
    "updatedAt": "2026-03-01T10:00:00Z",
    "createdAt": "2026-01-01T10:00:00Z",
}
LEVEL: dict[str, Any] = {
    "id": "gid://shopify/InventoryLevel/5?inventory_item_id=7",
    "item": {"id": "gid://shopify/InventoryItem/7", "sku": "007"},
    "quantities": [{"quantity": 5}],
}


class Schema:
    """Judges each question by the schema, and the values of its variables as well."""

    def __init__(self) -> None:
        self.schema: GraphQLSchema = build_schema((Path(__file__).parent / "presets" / "shopify.graphql").read_text(encoding="utf-8"))
        self.wrong: list[str] = []

    def look_at(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
        """Note what is wrong with a question."""
        asked = json.loads(body)
        document = parse(asked["query"])
        self.wrong += [error.message for error in validate(self.schema, document)]
        operation = document.definitions[0]
        assert isinstance(operation, OperationDefinitionNode)
        given = get_variable_values(self.schema, operation.variable_definitions or (), asked["variables"])
        self.wrong += [error.message for error in given] if isinstance(given, list) else []
        if headers.get("x-shopify-access-token") != "token-of-a-test":
            self.wrong.append("nobody said who asks")


def about(word: str) -> Any:
    """Whether a question is about this."""
    return lambda _, body: f" {word}(" in body["query"]


@pytest.fixture
def shop() -> Iterator[Any]:
    made: list[Vendor] = []

    def open_(*exchanges: Exchange) -> tuple[Vendor, Any]:
        vendor = Vendor(Schema(), list(exchanges))  # type: ignore[arg-type]
        made.append(vendor)
        return vendor, opened("shopify", vendor, secrets={"token": "token-of-a-test"}, values={"shop": "a-shop", "location": "111"})

    yield open_
    for vendor in made:
        vendor.close()
        vendor.check()


def _page(rows_: list[Any], following: str | None = None) -> dict[str, Any]:
    return {"nodes": rows_, "pageInfo": {"hasNextPage": following is not None, "endCursor": following}}


def test_customers_by_pages_then_what_changed(shop):
    vendor, connector = shop(
        Exchange("POST", G, {"data": {"customers": _page([ADA], "c1")}}),
        Exchange(
            "POST",
            G,
            {"data": {"customers": _page([{**ADA, "id": "gid://shopify/Customer/2", "email": None}])}},
            when=lambda _, b: b["variables"].get("after") == "c1",
        ),
        Exchange("POST", G, {"data": {"customers": _page([ADA])}}, when=lambda _, b: "changed" in b["variables"]),
    )
    pages = read(connector, CUSTOMERS, ("firstName", "email", "tags"))
    assert [(row["firstName"], row["email"], row["tags"]) for row in rows(pages)] == [
        ("Ada", "ada@example.com", ["vip"]),
        ("Ada", None, ["vip"]),
    ]
    assert pages[-1].complete
    since = pages[-1].cursor
    assert [row["__key"] for row in rows(read(connector, CUSTOMERS, ("firstName",), since=since))] == [ADA["id"]]
    assert vendor.asked[-1][3]["variables"] == {"first": 100, "changed": "updated_at:>='2026-03-01T09:58:00Z'"}


def test_a_customer_is_made_changed_and_deleted_and_what_is_refused_is_told(shop):
    taken = {"field": ["email"], "message": "Email has already been taken"}
    vendor, connector = shop(
        Exchange("POST", G, {"data": {"customerCreate": {"customer": ADA, "userErrors": []}}}, when=about("customerCreate")),
        Exchange("POST", G, {"data": {"customerCreate": {"customer": None, "userErrors": [taken]}}}, when=about("customerCreate")),
        Exchange("POST", G, {"data": {"customer": ADA}}, when=about("customer"), times=2),
        Exchange(
            "POST",
            G,
            {"data": {"customerUpdate": {"customer": {**ADA, "firstName": "A."}, "userErrors": []}}},
            when=about("customerUpdate"),
        ),
        Exchange("POST", G, {"data": {"customerDelete": {"deletedCustomerId": ADA["id"], "userErrors": []}}}, when=about("customerDelete")),
    )
    new = (None, {"firstName": "Ada", "email": "ada@example.com", "tags": ["vip"]})
    assert outcomes(connector, CUSTOMERS, batch("create", new))[0]["key"] == ADA["id"]
    assert outcomes(connector, CUSTOMERS, batch("create", new))[0]["reason"].startswith("it exists: Email has already been taken")
    seen = [{"__version": None, "firstName": "Ada"}]
    assert outcomes(connector, CUSTOMERS, batch("update", (ADA["id"], {"firstName": "A."}), expected=seen))[0]["status"] == "done"
    assert vendor.asked[-1][3]["variables"] == {"input": {"id": ADA["id"], "firstName": "A."}}
    assert outcomes(connector, CUSTOMERS, batch("delete", (ADA["id"], {}), expected=seen))[0]["status"] == "done"


def test_stock_is_only_set_where_the_quantity_is_still_the_one_that_was_seen(shop):
    stale = {"field": ["input"], "code": "CHANGE_FROM_QUANTITY_STALE", "message": "The quantity has changed"}
    answer = {"data": {"inventorySetQuantities": {"inventoryAdjustmentGroup": {"reason": "correction"}, "userErrors": []}}}
    vendor, connector = shop(
        Exchange("POST", G, {"data": {"location": {"inventoryLevels": _page([LEVEL])}}}, when=about("location")),
        Exchange("POST", G, {"data": {"inventoryLevel": LEVEL}}, when=about("inventoryLevel"), times=2),
        Exchange("POST", G, answer, when=about("inventorySetQuantities")),
        Exchange(
            "POST",
            G,
            {"data": {"inventorySetQuantities": {"inventoryAdjustmentGroup": None, "userErrors": [stale]}}},
            when=about("inventorySetQuantities"),
        ),
    )
    shown = rows(read(connector, STOCK, ("sku", "quantity")))[0]
    assert (shown["sku"], shown["quantity"], shown["__version"]) == ("007", 5, "5")
    sold = batch("update", (LEVEL["id"], {"quantity": 4}), expected=[{"__version": "5", "quantity": 5}])
    assert [outcomes(connector, STOCK, sold)[0]["status"] for _ in range(2)] == ["done", "stale"]
    first, second = [asked[3]["variables"] for asked in vendor.asked if "input" in asked[3]["variables"]]
    assert first["input"]["quantities"] == [
        {
            "inventoryItemId": "gid://shopify/InventoryItem/7",
            "locationId": "gid://shopify/Location/111",
            "quantity": 4,
            "changeFromQuantity": 5,
        }
    ]
    assert first["name"] != second["name"]


def test_a_price_is_changed_through_its_product(shop):
    chair: dict[str, Any] = {
        "id": "gid://shopify/ProductVariant/9",
        "title": "Oak",
        "barcode": None,
        "price": "49.00",
        "compareAtPrice": None,
        "taxable": True,
        "updatedAt": "2026-03-01T10:00:00Z",
        "product": {"id": "gid://shopify/Product/3", "title": "Chair"},
        "inventoryItem": {"id": "gid://shopify/InventoryItem/7", "sku": "007"},
    }
    answer = {"data": {"productVariantsBulkUpdate": {"productVariants": [{**chair, "price": "52.50"}], "userErrors": []}}}
    vendor, connector = shop(
        Exchange("POST", G, {"data": {"productVariant": chair}}, when=about("productVariant")),
        Exchange("POST", G, answer, when=about("productVariantsBulkUpdate")),
    )
    written = batch("update", (chair["id"], {"price": "52.50", "sku": "008"}), expected=[{"__version": None, "price": "49", "sku": "007"}])
    assert outcomes(connector, VARIANTS, written)[0]["status"] == "done"
    assert vendor.asked[-1][3]["variables"] == {
        "product": "gid://shopify/Product/3",
        "variant": {"id": chair["id"], "price": "52.50", "inventoryItem": {"sku": "008"}},
    }


def test_stock_needs_a_location_and_the_others_do_not():
    vendor = Vendor(None, [])
    try:
        connector = opened("shopify", vendor, secrets={"token": "token-of-a-test"}, values={"shop": "a-shop"})
        assert "stock" not in [info.name for info in connector.discover()]
        with pytest.raises(ObjectMissingError, match="stock needs the value location"):
            connector.describe(STOCK)
    finally:
        vendor.close()


def test_too_fast_is_told_with_a_200_and_waited_out(shop, monkeypatch):
    throttled = {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}
    _, connector = shop(
        Exchange("POST", G, throttled, headers={"Retry-After": "0"}), Exchange("POST", G, {"data": {"customers": _page([ADA])}})
    )
    assert len(rows(read(connector, CUSTOMERS, ("firstName",)))) == 1


@pytest.mark.parametrize("preset_object", ["customers", "products", "variants", "stock", "orders"])
def test_every_question_of_the_preset_is_valid(preset_object):
    from trueup.connectors.rest.preset import preset_file

    judge, found = Schema(), []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("query"), str):
                found.append(value["query"])
            for inner in value.values():
                walk(inner)

    walk(preset_file("shopify")[1].objects[preset_object].model_dump())
    assert len(found) >= 3
    assert [error.message for text in found for error in validate(judge.schema, parse(text))] == []
