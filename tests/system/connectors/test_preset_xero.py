"""The Xero preset against answers of the shapes in Xero's OpenAPI file, whose paths, parameters and fields judge each request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tests.system.connectors.openapi_judge import Judge
from tests.system.connectors.preset_tools import Exchange, Vendor, batch, opened, outcomes, read, rows
from trueup.errors import SystemUnreachableError
from trueup.model import ObjectSpec

X = "/api.xro/2.0"
CONTACTS = ObjectSpec(name="contacts", key=("ContactID",), modified="UpdatedDateUTC")
ITEMS = ObjectSpec(name="items", key=("ItemID",))
INVOICES = ObjectSpec(name="invoices", key=("InvoiceID",), modified="UpdatedDateUTC")
ID, OTHER = "8138a266-fb42-49b2-a104-014b7045753d", "d5be01fb-b09f-4c3a-9c67-e10c2a03412c"
# getContact's example in xero_accounting.yaml, in short
ACME = {
    "ContactID": ID,
    "ContactNumber": "SB2",
    "ContactStatus": "ACTIVE",
    "Name": "Acme Parts Co.",
    "FirstName": "Blake",
    "EmailAddress": "bk@krave.co",
    "UpdatedDateUTC": "/Date(1551459777193+0000)/",
    "IsSupplier": True,
    "HasValidationErrors": False,
}


def _answer(name: str, *records: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "Id": "5c83b115-a6e8-4f2a-877f-ba63d009235b",
        "Status": "OK",
        "DateTimeUTC": "/Date(1551462703288)/",
        name: list(records),
        **more,
    }


@pytest.fixture
def xero() -> Iterator[Any]:
    made: list[Vendor] = []

    def open_(*exchanges: Exchange) -> tuple[Vendor, Any]:
        vendor = Vendor(Judge("xero"), list(exchanges))
        made.append(vendor)
        return vendor, opened("xero", vendor, values={"tenant": "a-tenant"})

    yield open_
    for vendor in made:
        vendor.close()
        vendor.check()


def test_the_organisations_that_agreed(xero):
    told = {  # getConnections' example in xero-identity.yaml
        "id": "7cb59f93-2964-421d-bb5e-a0f7a4572a44",
        "tenantId": "fe79f7dd-b6d4-4a92-ba7b-538af6289c58",
        "tenantName": "Demo Company (NZ)",
        "tenantType": "ORGANISATION",
        "createdDateUtc": "2019-12-07T18:46:19.5165400",
        "updatedDateUtc": "2019-12-07T18:46:19.5187840",
    }
    _, connector = xero(Exchange("GET", "/connections", [told]))
    spec = ObjectSpec(name="organisations", key=("tenantId",))
    (row,) = rows(read(connector, spec, ["tenantName", "tenantType"]))
    assert (row["__key"], row["tenantName"]) == (told["tenantId"], "Demo Company (NZ)")


def test_contacts_by_pages_and_what_changed_since(xero):
    archived = {**ACME, "ContactID": OTHER, "ContactStatus": "ARCHIVED"}
    vendor, connector = xero(
        Exchange(
            "GET", f"{X}/Contacts", _answer("Contacts", ACME, pagination={"page": 1, "itemCount": 1}), when=lambda q, _: q["page"] == "1"
        ),
        Exchange("GET", f"{X}/Contacts", _answer("Contacts"), when=lambda q, _: q["page"] == "2", times=2),
        Exchange("GET", f"{X}/Contacts", _answer("Contacts", ACME, archived), when=lambda q, _: q["includeArchived"] == "true"),
    )
    pages = read(connector, CONTACTS, ("Name", "UpdatedDateUTC"))
    assert rows(pages)[0]["UpdatedDateUTC"] == datetime(2019, 3, 1, 17, 2, 57, 193000, UTC)
    assert pages[-1].complete
    changed = read(connector, CONTACTS, ("Name",), since="2019-03-01T17:00:00+00:00")
    assert ([row["__key"] for row in rows(changed)], changed[-1].gone) == ([ID], (OTHER,))
    assert vendor.asked[-1][4]["if-modified-since"] == "2019-03-01T16:59:00Z"
    assert vendor.asked[-1][4]["xero-tenant-id"] == "a-tenant"


def test_several_new_contacts_with_one_that_is_refused_in_a_200(xero):
    refused = {
        "ContactID": "00000000-0000-0000-0000-000000000000",
        "StatusAttributeString": "ERROR",
        "HasValidationErrors": True,
        "ValidationErrors": [{"Message": "The contact name Acme is already assigned to another contact."}],
    }
    _, connector = xero(
        Exchange("PUT", f"{X}/Contacts", _answer("Contacts", ACME, refused), when=lambda q, _: q["summarizeErrors"] == "false")
    )
    done = outcomes(connector, CONTACTS, batch("create", (None, {"Name": "Acme Parts Co."}), (None, {"Name": "Acme"})))
    assert [(one["status"], one["key"]) for one in done] == [("done", ID), ("rejected", None)]
    assert "already assigned" in done[1]["reason"]


def test_a_contact_is_made_under_a_name_of_the_request_changed_and_archived(xero):
    vendor, connector = xero(
        Exchange("PUT", f"{X}/Contacts", _answer("Contacts", ACME)),
        Exchange("GET", f"{X}/Contacts/{ID}", _answer("Contacts", ACME), times=2),
        Exchange("POST", f"{X}/Contacts/{ID}", _answer("Contacts", {**ACME, "EmailAddress": ""}), times=2),
    )
    assert outcomes(connector, CONTACTS, batch("create", (None, {"Name": "Acme Parts Co."})))[0]["key"] == ID
    assert len(vendor.asked[-1][4]["idempotency-key"]) <= 128
    seen = [{"__version": None, "EmailAddress": "bk@krave.co"}]
    assert outcomes(connector, CONTACTS, batch("update", (ID, {"EmailAddress": None}), expected=seen))[0]["status"] == "done"
    assert outcomes(connector, CONTACTS, batch("delete", (ID, {}), expected=seen))[0]["status"] == "done"
    assert vendor.bodies("POST", f"{X}/Contacts/{ID}") == [
        {"Contacts": [{"ContactID": ID, "EmailAddress": ""}]},
        {"Contacts": [{"ContactID": ID, "ContactStatus": "ARCHIVED"}]},
    ]


def test_an_item_names_its_code_with_every_change(xero):
    item = {"ItemID": ID, "Code": "007", "Name": "Chair", "SalesDetails": {"UnitPrice": 12.5}, "UpdatedDateUTC": "/Date(1551459777193)/"}
    vendor, connector = xero(
        Exchange("GET", f"{X}/Items/{ID}", _answer("Items", item)), Exchange("POST", f"{X}/Items/{ID}", _answer("Items", item))
    )
    written = batch("update", (ID, {"SalesPrice": "13.25"}), expected=[{"__version": None, "SalesPrice": "12.5"}])
    assert outcomes(connector, ITEMS, written)[0]["status"] == "done"
    assert vendor.bodies("POST", f"{X}/Items/{ID}") == [{"Items": [{"ItemID": ID, "Code": "007", "SalesDetails": {"UnitPrice": 13.25}}]}]


def test_days_of_invoices_are_days(xero):
    invoice = {
        "InvoiceID": ID,
        "Type": "ACCREC",
        "InvoiceNumber": "INV-1",
        "Contact": {"ContactID": OTHER},
        "Date": "/Date(1551744000000+0000)/",
        "Status": "DRAFT",
        "Total": 34.50,
        "UpdatedDateUTC": "/Date(1551812346157+0000)/",
    }
    vendor, connector = xero(
        Exchange("GET", f"{X}/Invoices", _answer("Invoices", invoice), when=lambda q, _: q.get("page") == "1"),
        Exchange("GET", f"{X}/Invoices", _answer("Invoices"), when=lambda q, _: q.get("page") == "2"),
        Exchange("GET", f"{X}/Invoices/{ID}", _answer("Invoices", invoice)),
        Exchange("POST", f"{X}/Invoices/{ID}", _answer("Invoices", invoice)),
    )
    shown = rows(read(connector, INVOICES, ("Date", "Total", "Contact")))[0]
    assert (shown["Date"], shown["Total"], shown["Contact"]) == (date(2019, 3, 5), "34.5", OTHER)
    written = batch("update", (ID, {"DueDate": date(2019, 4, 5)}), expected=[{"__version": None, "DueDate": None}])
    assert outcomes(connector, INVOICES, written)[0]["status"] == "done"
    assert vendor.bodies("POST", f"{X}/Invoices/{ID}") == [{"Invoices": [{"InvoiceID": ID, "DueDate": "2019-04-05"}]}]


def test_what_is_refused_is_told_and_a_spent_day_ends_the_work(xero):
    refused = {
        "ErrorNumber": 10,
        "Type": "ValidationException",
        "Message": "A validation exception occurred",
        "Elements": [{"ValidationErrors": [{"Message": "Email address must be valid."}]}],
    }
    _, connector = xero(
        Exchange("PUT", f"{X}/Contacts", refused, 400), Exchange("GET", f"{X}/Contacts", None, 429, {"Retry-After": "40000"})
    )
    done = outcomes(connector, CONTACTS, batch("create", (None, {"Name": "A", "EmailAddress": "?"})))[0]
    assert (done["status"], done["reason"]) == ("rejected", "Email address must be valid. (HTTP 400)")
    with pytest.raises(SystemUnreachableError):
        read(connector, CONTACTS, ("Name",))
