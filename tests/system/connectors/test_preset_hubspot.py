"""The HubSpot preset against answers of the shapes in HubSpot's OpenAPI files and documentation; each request is judged by the former.

Examples of records: developers.hubspot.com/docs/api-reference, batch create of 2025-09 and 2026-03 (id 512); of errors: `Error` of
contacts.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.system.connectors.openapi_judge import Judge
from tests.system.connectors.preset_tools import Exchange, Vendor, batch, opened, outcomes, read, rows
from trueup.errors import AccessRefusedError
from trueup.model import ObjectSpec

P = "/crm/objects/2026-03/contacts"
CONTACTS = ObjectSpec(name="contacts", key=("id",), modified="updatedAt")
PROPERTIES = Exchange(
    "GET",
    "/crm/properties/2026-03/contacts",
    {
        "results": [
            {"name": "firstname", "type": "string", "modificationMetadata": {"readOnlyValue": False}},
            {"name": "email", "type": "string", "modificationMetadata": {"readOnlyValue": False}},
            {"name": "property_number", "type": "number", "modificationMetadata": {"readOnlyValue": False}},
            {"name": "property_checkbox", "type": "bool", "modificationMetadata": {"readOnlyValue": False}},
            {"name": "hs_object_id", "type": "number", "modificationMetadata": {"readOnlyValue": True}},
        ]
    },
)


def _record(key: str, **properties: str | None) -> dict[str, Any]:
    return {
        "id": key,
        "properties": {"createdate": "2019-10-30T03:30:17.883Z", "hs_object_id": key, **properties},
        "createdAt": "2019-10-30T03:30:17.883Z",
        "updatedAt": "2019-12-07T16:50:06.678Z",
        "archived": False,
    }


@pytest.fixture
def vendors() -> Iterator[list[Vendor]]:
    made: list[Vendor] = []
    yield made
    for vendor in made:
        vendor.close()
        vendor.check()


def _hubspot(vendors: list[Vendor], *exchanges: Exchange) -> tuple[Vendor, Any]:
    vendor = Vendor(Judge("hubspot"), [Exchange(PROPERTIES.method, PROPERTIES.path, PROPERTIES.body), *exchanges])
    vendors.append(vendor)
    return vendor, opened("hubspot", vendor, secrets={"token": "token-of-a-test"})


def test_the_whole_list_by_pages_with_the_properties_that_are_mapped(vendors):
    vendor, hubspot = _hubspot(
        vendors,
        Exchange(
            "GET",
            P,
            {
                "results": [_record("512", firstname="Ada", email=None, property_number="17")],
                "paging": {"next": {"after": "NTI1Cg%3D%3D", "link": "?after=NTI1Cg%3D%3D"}},
            },
            when=lambda q, _: q["archived"] == "false",
        ),
        Exchange(
            "GET", P, {"results": [_record("513", firstname="", property_checkbox="false")]}, when=lambda q, _: q.get("after") is not None
        ),
        Exchange("GET", P, {"results": [{**_record("7"), "archived": True}]}, when=lambda q, _: q["archived"] == "true"),
    )
    pages = read(hubspot, CONTACTS, ("firstname", "email", "property_number", "property_checkbox"))
    first, second = rows(pages)
    assert (first["__key"], first["firstname"], first["email"], Decimal(first["property_number"])) == ("512", "Ada", None, Decimal(17))
    assert (second["firstname"], second["property_checkbox"]) == (None, False)
    assert pages[-1].complete
    assert pages[-1].gone == ("7",)
    asked = [query for method, path, query, _, _ in vendor.asked if path == P]
    assert asked[0]["properties"] == "firstname,email,property_number,property_checkbox"
    assert vendor.asked[0][4]["authorization"] == "Bearer token-of-a-test"


def test_changes_are_searched_for_since_the_cursor(vendors):
    vendor, hubspot = _hubspot(
        vendors,
        Exchange("POST", f"{P}/search", {"total": 2, "results": [_record("512", firstname="Ada")], "paging": {"next": {"after": "1"}}}),
        Exchange("POST", f"{P}/search", {"total": 2, "results": [_record("513", firstname="Alan")]}, when=lambda _, b: b["after"] == "1"),
        Exchange("GET", P, {"results": []}, when=lambda q, _: q["archived"] == "true"),
    )
    pages = read(hubspot, CONTACTS, ("firstname",), since="2019-12-07T16:00:00+00:00")
    assert [row["__key"] for row in rows(pages)] == ["512", "513"]
    assert pages[-1].cursor is not None
    first = vendor.bodies("POST", f"{P}/search")[0]
    assert first["filterGroups"] == [{"filters": [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": "1575734100000"}]}]
    assert first["properties"] == ["firstname"]


def test_new_rows_go_in_one_request_and_each_has_its_answer(vendors):
    where = {"objectWriteTraceId": ["1"]}
    refused = {"status": "error", "category": "VALIDATION_ERROR", "message": "Property values were not valid", "context": where}
    answer = {
        "status": "COMPLETE",
        "results": [
            {**_record("1145814090", firstname="Alan"), "objectWriteTraceId": "2"},
            {**_record("1145814089", firstname="Ada"), "objectWriteTraceId": "0"},
        ],
        "numErrors": 1,
        "errors": [refused],
        "startedAt": "2024-01-01T00:00:00Z",
        "completedAt": "2024-01-01T00:00:01Z",
    }
    vendor, hubspot = _hubspot(vendors, Exchange("POST", f"{P}/batch/create", answer, 207))
    done = outcomes(
        hubspot, CONTACTS, batch("create", (None, {"firstname": "Ada"}), (None, {"firstname": "?"}), (None, {"firstname": "Alan"}))
    )
    assert [(one["status"], one["key"]) for one in done] == [("done", "1145814089"), ("rejected", None), ("done", "1145814090")]
    assert "Property values were not valid" in done[1]["reason"]
    assert vendor.bodies("POST", f"{P}/batch/create")[0]["inputs"][0]["properties"] == {"firstname": "Ada"}


def test_one_new_row_one_change_and_one_delete(vendors):
    one = {**_record("512", firstname="Ada", property_number="17")}
    _, hubspot = _hubspot(
        vendors,
        Exchange("POST", P, one, 201),
        Exchange("POST", f"{P}/batch/read", {"status": "COMPLETE", "results": [one]}, times=0),
        Exchange("GET", f"{P}/512", one, times=2),
        Exchange("PATCH", f"{P}/512", {**one, "properties": {"firstname": ""}}),
        Exchange("DELETE", f"{P}/512", None, 204),
    )
    assert outcomes(hubspot, CONTACTS, batch("create", (None, {"firstname": "Ada", "property_number": "17"})))[0]["key"] == "512"
    changed = batch("update", ("512", {"firstname": None}), expected=[{"__version": None, "firstname": "Ada"}])
    assert outcomes(hubspot, CONTACTS, changed)[0]["status"] == "done"
    deleted = batch("delete", ("512", {}), expected=[{"__version": None, "firstname": "Ada"}])
    assert outcomes(hubspot, CONTACTS, deleted)[0]["status"] == "done"


def test_many_changes_are_compared_by_one_question_and_written_by_another(vendors):
    here = [_record("512", firstname="Ada"), _record("513", firstname="Somebody else")]
    vendor, hubspot = _hubspot(
        vendors,
        Exchange("POST", f"{P}/batch/read", {"status": "COMPLETE", "results": here}, 207),
        Exchange("POST", f"{P}/batch/update", {"status": "COMPLETE", "results": [_record("512", firstname="Ada L.")]}),
    )
    names = {"firstname": "Ada L."}
    seen = [{"__version": None, "firstname": "Ada"}, {"__version": None, "firstname": "Alan"}, {"__version": None, "firstname": "Grace"}]
    done = outcomes(hubspot, CONTACTS, batch("update", ("512", names), ("513", names), ("514", names), expected=seen))
    assert [one["status"] for one in done] == ["done", "stale", "gone"]
    assert vendor.bodies("POST", f"{P}/batch/update") == [{"inputs": [{"id": "512", "properties": names}]}]


def test_too_many_questions_are_waited_out_and_what_is_refused_is_told(vendors):
    too_many = {"status": "error", "message": "You have reached your secondly limit.", "errorType": "RATE_LIMIT", "policyName": "SECONDLY"}
    wrong = {
        "message": "Property values were not valid",
        "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
        "category": "VALIDATION_ERROR",
        "errors": [{"message": "Email address is invalid", "context": {"propertyName": ["email"]}}],
    }
    _, hubspot = _hubspot(
        vendors, Exchange("POST", P, too_many, 429, {"Retry-After": "0"}), Exchange("POST", P, wrong, 400), Exchange("POST", P, wrong, 409)
    )
    refused = outcomes(hubspot, CONTACTS, batch("create", (None, {"email": "nonsense"})))[0]
    assert (refused["status"], refused["field"]) == ("rejected", "email")
    assert outcomes(hubspot, CONTACTS, batch("create", (None, {"email": "taken"})))[0]["reason"].startswith("it exists")


def test_what_the_token_may_not_see_is_no_object(vendors):
    told = {"message": "This app hasn't been granted all required scopes", "category": "MISSING_SCOPES", "correlationId": "aeb5f871"}
    others = [Exchange("GET", f"/crm/properties/2026-03/{name}", told, 403) for name in ("companies", "products", "deals", "invoices")]
    _, hubspot = _hubspot(vendors, *others)
    assert [info.name for info in hubspot.discover()] == ["contacts"]


def test_a_scope_that_is_missing_is_told_as_such(vendors):
    told = {"message": "This app hasn't been granted all required scopes", "category": "MISSING_SCOPES", "correlationId": "aeb5f871"}
    _, hubspot = _hubspot(vendors, Exchange("GET", P, told, 403))
    with pytest.raises(AccessRefusedError, match="required scopes"):
        read(hubspot, CONTACTS, ("firstname",))
