"""Applications and their traps: every page is found, no row is made twice, and what goes wrong is said in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.system.connectors.rest_tools import CONTACTS, DATED, PAGE, contacts, creates, filled, keys, opened, outcomes, read, updates
from trueup.connectors.rest.connector import RestConnector
from trueup.errors import AccessRefusedError, ConfigError, ObjectUnreadableError, SystemUnreachableError, TrueupError
from trueup.testing.rest_service import RestService, Rule

EVERYBODY = [str(number) for number in range(1, 26)]


@pytest.fixture
def service() -> Iterator[RestService]:
    with RestService() as service:
        filled(service)
        yield service


@pytest.fixture
def connect(tmp_path: Path, service: RestService) -> Iterator[Any]:
    made: list[RestConnector] = []

    def connect(obj: dict[str, Any] | None = None, **http: Any) -> RestConnector:
        made.append(opened(tmp_path, service, obj, http=http))
        return made[-1]

    yield connect
    for connector in made:
        connector.close()


def full(page: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """An object whose list has such pages."""
    return contacts(read={"full": {"get": "/contacts", "items": "/data", **({"page": page} if page else {}), **more}})


# ---------------------------------------------------------------- pages


SIZE = {"to": "query.limit", "rows": 4}
STYLES = [
    {"style": "cursor", "from": "/next", "to": "query.cursor", "size": SIZE},
    {"style": "next_url", "from": "/next_url"},
    {"style": "link_header"},
    {"style": "offset", "to": "query.offset", "size": SIZE},
    {"style": "page", "to": "query.page", "size": SIZE},
    {"style": "keyset", "from": "/id", "to": "query.after", "size": SIZE},
]


@pytest.mark.parametrize("page", STYLES, ids=lambda page: page["style"])
def test_pages_of_every_style_are_followed_to_their_end_though_they_are_cut_silently(service, connect, page):
    if page["style"] == "keyset":  # this one compares texts
        for number in EVERYBODY:
            service.drop("contacts", (int(number),))
            service.put("contacts", {"id": f"k{number:>02}", "name": "x"})
    service.traps.page_cap = 3
    obj = full(page)
    obj["columns"]["id"] = {"type": "text", "at": "/id"}
    pages = read(connect(obj))
    assert len(set(keys(pages))) == len(keys(pages)) == 25
    assert pages[-1].complete


def test_a_page_size_that_is_refused_is_halved(service, connect):
    service.traps.page_refused = 12
    assert keys(read(connect(full({**PAGE, "size": {"to": "query.limit", "rows": 50}})))) == EVERYBODY
    assert service.statuses[400] == 2


def test_a_list_that_is_cut_at_a_number_of_results_goes_on_behind_its_last_row(service, connect):
    service.traps.cap = 10
    obj = full(PAGE, query={"sort": "updated_at"}, restart={"after": 10, "from": "/updated_at", "to": "query.since", "filter": "iso"})
    pages = read(connect(obj))
    assert (sorted(keys(pages), key=int), pages[-1].complete) == (EVERYBODY, True)


def test_a_list_whose_rows_all_have_one_moment_is_not_said_to_be_whole(service, connect):
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    for number in EVERYBODY:
        service.put("contacts", {"id": int(number), "name": "x"}, at=moment)
    service.traps.cap = 10
    obj = full(PAGE, query={"sort": "updated_at"}, restart={"after": 10, "from": "/updated_at", "to": "query.since", "filter": "iso"})
    with pytest.raises(ObjectUnreadableError, match="no more than 10 rows at once"):
        read(connect(obj))


@pytest.mark.parametrize("page", [STYLES[0], STYLES[4]], ids=lambda page: page["style"])
def test_a_list_that_never_ends_is_told(service, connect, page):
    service.traps.repeats = True
    if page["style"] == "page":
        service.make("contacts")
        service.put("contacts", {"id": 1, "name": "x"})
    with pytest.raises(ObjectUnreadableError, match="again and again"):
        read(connect(full(page)))


def test_rows_that_move_up_between_offsets_are_seen(service, connect):
    pages = connect(full({"style": "offset", "to": "query.offset", "size": {"to": "query.limit", "rows": 5}})).read(
        CONTACTS, ["name"], page_rows=2
    )
    first = next(pages)
    for number in (1, 2, 3):
        service.drop("contacts", (number,))
    rest = list(pages)
    assert set(EVERYBODY[3:]) <= set(keys([first, *rest]))
    assert rest[-1].complete


def test_fewer_rows_than_the_total_are_no_complete_list(service, connect):
    service.traps.cap = 7
    pages = read(connect(full(PAGE, total="/total")))
    assert (len(keys(pages)), pages[-1].complete) == (7, False)


def test_a_total_that_stands_in_a_header(service, connect, monkeypatch):
    whole = service.json
    monkeypatch.setattr(service, "json", lambda value, status=200, headers=None: whole(value, status, {**(headers or {}), "x-total": "26"}))
    full = {"get": "/contacts", "items": "/data", "page": PAGE, "total": "header X-Total"}
    assert not read(connect(contacts(read={"full": full})))[-1].complete
    service.put("contacts", {"id": 26, "name": "n26"})
    assert read(connect(contacts(read={"full": full})))[-1].complete


@pytest.mark.parametrize(
    ("items", "answer", "said"),
    [
        ("/data", [{"id": 1}], "the answer is a list itself, which needs no `items`"),
        ("", {"data": [{"id": 1}], "next": None}, "there is one at /data"),
        ("/rows", {"result": {"rows": [], "more": []}}, "there is one at /result/rows and at /result/more"),
        ("/rows", {"message": "hello"}, "it has message"),
        ("/rows", "hello", "it is empty, or no object"),
    ],
)
def test_a_list_that_stands_elsewhere_is_told_where(service, connect, monkeypatch, items, answer, said):
    monkeypatch.setattr(service, "_list", lambda *_: service.json(answer))
    with pytest.raises(ObjectUnreadableError, match="there is no list at") as caught:
        read(connect(contacts(read={"full": {"get": "/contacts", "items": items}})))
    assert said in str(caught.value.hint)


def test_graphql_pages_and_a_refusal_within_a_200(service, connect):
    page = {"style": "page_info", "from": "/data/contacts/pageInfo", "to": "body.variables.after"}
    query = {"query": "query { contacts { nodes } }", "variables": {"first": 10}}
    save = {"query": "mutation { contacts }", "variables": {"id": "${id}", "input": "${changed}"}}
    obj = contacts(
        read={"full": {"post": "/graphql", "body": query, "items": "/data/contacts/nodes", "page": page}},
        write={"update": {"post": "/graphql", "body": save, "item": "/data/save/record"}},
    )
    errors = [
        {"at": "/errors", "class": "rejected", "message": "/errors/0/message"},
        {
            "at": "/data/save/userErrors",
            "class": "rejected",
            "message": "/data/save/userErrors/0/message",
            "field": "/data/save/userErrors/0/field",
        },
    ]
    service.collections["contacts"].rules["name"] = Rule(max_length=5)
    connector = connect(obj, errors=errors)
    assert keys(read(connector)) == EVERYBODY
    done, refused = outcomes(connector, updates(k3="Ada", k4="much too long"))
    assert (done["__status"], service.rows("contacts")[2]["name"]) == ("done", "Ada")
    assert (refused["__status"], refused["__field"]) == ("rejected", "name")
    assert "more than 5 characters" in refused["__reason"]


def test_a_list_that_is_made_ready_first(connect):
    job = {
        "id": "/job",
        "poll": {"get": "/exports/${job}"},
        "status": "/status",
        "done": "done",
        "every_s": 0.01,
        "url": "/url",
        "download": {"get": "${url}"},
    }
    obj = contacts(read={"full": {"post": "/exports/contacts", "job": job}})
    pages = read(connect(obj))
    assert (keys(pages), pages[-1].complete) == (EVERYBODY, True)


# ---------------------------------------------------------------- changes


def test_changes_are_asked_for_since_the_cursor_and_some_time_before_it(service, connect):
    start = datetime(2026, 11, 20, 2, tzinfo=UTC)
    for number in EVERYBODY:
        service.put("contacts", {"id": int(number), "name": "x"}, at=start + timedelta(minutes=int(number)))
    changed = {"get": "/contacts", "query": {"since": "${since|iso}"}, "items": "/data", "page": PAGE}
    connector = connect(contacts(read={"changed": {**changed, "cursor": {"field": "/updated_at", "overlap_s": 120, "sorted": True}}}))
    cursor = read(connector, obj=DATED)[-1].cursor
    assert cursor == "2026-11-20T02:25:00Z"
    service.put("contacts", {"id": 3, "name": "late"}, at=start + timedelta(minutes=24))  # committed late, dated before the cursor
    assert sorted(keys(read(connector, obj=DATED, since=cursor)), key=int) == ["3", "23", "24", "25"]


def test_mixed_precision_of_moments_loses_nothing(service, connect):
    service.traps.mixed_times = True
    moment = datetime(2026, 11, 20, 2, 0, 0, 900_000, tzinfo=UTC)
    for number in EVERYBODY:
        service.put("contacts", {"id": int(number), "name": "x"}, at=moment)
    connector = connect()
    cursor = read(connector, obj=DATED)[-1].cursor
    assert cursor == "2026-11-20T02:00:00.9Z"
    again = read(connector, obj=DATED, since="2026-11-20T02:00:00Z")
    assert sorted(keys(again), key=int) == EVERYBODY


def test_rows_that_are_only_marked_as_deleted_are_told_as_gone(service, connect):
    service.traps.soft = True
    connector = connect(contacts(gone={"at": "/attributes/archived", "is": True}))
    assert outcomes(connector, replace(updates(k7=""), kind="delete"))[0]["__status"] == "done"
    last = read(connector)[-1]
    assert ("7" in keys([last]), last.gone) == (False, ("7",))
    assert outcomes(connector, updates(k7="again"))[0]["__status"] == "gone"


# ---------------------------------------------------------------- writes whose answer is lost


def test_a_create_whose_answer_is_lost_is_made_once_under_its_own_name(service, connect):
    create = {"post": "/contacts", "body": {"attributes": "${fields}"}, "item": "", "idempotency": {"header": "Idempotency-Key"}}
    service.traps.lose = 1
    assert outcomes(connect(contacts(write={"create": create})), creates("ada"))[0]["__status"] == "done"
    assert [row["name"] for row in service.rows("contacts")].count("ada") == 1


def test_a_create_whose_answer_is_lost_is_looked_for_before_it_is_sent_again(service, connect):
    service.traps.lose = 1
    outcome = outcomes(connect(contacts(match_on=["email"])), creates("ada"))[0]
    assert (outcome["__status"], outcome["__key"]) == ("done", "26")
    assert [row["name"] for row in service.rows("contacts")].count("ada") == 1


def test_a_create_that_nobody_can_look_for_is_not_sent_again(service, connect):
    service.traps.lose = 1
    with pytest.raises(SystemUnreachableError, match="not known whether 1 new row arrived"):
        outcomes(connect(), creates("ada"))
    assert [row["name"] for row in service.rows("contacts")].count("ada") == 1


def test_bulk_rows_have_outcomes_of_their_own_though_the_answer_is_a_success(service, connect):
    service.collections["contacts"].rules["email"] = Rule(unique=True)
    bulk = {"post": "/contacts/batch", "body": {"op": "create"}, "items": "inputs", "item": {"attributes": "${fields}"}, "max": 50}
    told = {"results": "/results", "errors": "/errors", "index": "/index", "status": "/status", "message": "/error/message"}
    obj = contacts(write={"bulk": {"create": {**bulk, **told, "field": "/error/field", "id": "/id"}}})
    found = outcomes(connect(obj), creates(*[f"new{number}" for number in range(60)], "e7", "last"))
    assert [number for number, row in enumerate(found) if row["__status"] != "done"] == [60]
    assert (found[60]["__status"], found[60]["__field"]) == ("rejected", "email")
    assert len(service.rows("contacts")) == 25 + 61
    assert sum(1 for asked in service.requests if asked[1] == "/contacts/batch") == 2


# ---------------------------------------------------------------- limits and passing troubles


def test_declared_limits_cause_no_refusal(service, connect):
    service.traps.per_s, service.traps.window_s = 10, 0.3
    connector = connect(limits=[{"requests": 10, "per_s": 0.3}])
    assert {row["__status"] for row in outcomes(connector, updates(**{f"k{number}": "x" for number in EVERYBODY}))} == {"done"}
    assert 429 not in service.statuses


@pytest.mark.parametrize("told", [True, False])
def test_a_refusal_for_too_many_requests_is_waited_for(service, connect, told):
    service.traps.per_s, service.traps.window_s, service.traps.retry_after = 2, 0.2, told
    assert keys(read(connect(attempts=8))) == EVERYBODY


def test_a_spent_quota_ends_the_work_for_now_and_says_so(service, connect):
    service.traps.per_s, service.traps.window_s = 1, 3600
    connector = connect()
    with pytest.raises(SystemUnreachableError, match="too many requests"):
        read(connector)


def test_nothing_is_asked_when_the_budget_is_used_up(service, connect):
    service.traps.budget = 2
    connector = connect(budget_headers={"remaining": "X-Remaining", "reset": "X-Reset"}, most_wait_s=0.5)
    with pytest.raises(SystemUnreachableError, match="used up"):
        read(connector)
    assert len(service.requests) == 2


def test_a_passing_trouble_is_tried_again(service, connect):
    service.traps.fail = 1
    assert keys(read(connect())) == EVERYBODY


# ---------------------------------------------------------------- bad input: a clear message, and the rest goes on


def test_a_token_that_is_not_taken(service, connect):
    service.traps.token = "another"
    with pytest.raises(AccessRefusedError, match="the token is not valid") as caught:
        read(connect())
    assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize("target", ["http://127.0.0.2:9/contacts", "https://elsewhere.example/contacts"])
def test_a_redirect_to_another_host_is_not_followed(service, connect, target):
    service.traps.elsewhere = target
    with pytest.raises(AccessRefusedError, match="does not allow to ask"):
        read(connect())


def test_a_page_for_people_instead_of_json(service, connect):
    service.traps.html, service.traps.token = True, "another"
    with pytest.raises(AccessRefusedError, match=r"a page for people \(Error 401\)"):
        read(connect())


def test_json_that_is_no_json(service, connect):
    service.traps.garbled = 9
    with pytest.raises(ObjectUnreadableError, match="where JSON was expected"):
        read(connect())


def test_json_under_another_type_is_read(service, connect):
    service.traps.wrong_type = True
    assert keys(read(connect())) == EVERYBODY


def test_failures_told_with_status_200_are_failures(service, connect):
    service.traps.ok_errors = True
    connector = connect(errors=[{"at": "/error", "is": None, "class": "none"}, {"at": "/error/status", "is": 404, "class": "gone"}])
    assert outcomes(connector, updates(k99="x"))[0]["__status"] == "gone"


def test_an_answer_that_is_too_large(connect):
    with pytest.raises(ObjectUnreadableError, match=r"more than 0\.001 MB"):
        read(connect(full({**PAGE, "size": {"to": "query.limit", "rows": 50}}), max_body_mb=0.001))


def test_a_record_without_its_key_and_one_with_a_strange_value_are_told_and_the_rest_is_read(service, connect):
    service.traps.unkeyed = 1
    service.put("contacts", {"id": 5, "name": "x", "age": "forty"})
    pages = read(connect(), ("age",))
    rejected = {reject.key: reject.reason for page in pages for reject in page.rejected}
    assert keys(pages) == [key for key in EVERYBODY if key not in {"1", "5"}]
    assert "no key" in rejected[None]
    assert "`forty`" in rejected["5"]
    assert pages[-1].complete


def test_a_host_that_is_not_there(tmp_path, service):
    service.close()
    connector = opened(tmp_path, service, http={"attempts": 1})
    with pytest.raises(SystemUnreachableError, match="cannot be reached"):
        read(connector)
    connector.close()


def test_strange_names_arrive(service, connect):
    names = ["O'Brien", "Zoë 👩‍👩‍👧", "שלום", 'a "quote" \\ and / more']
    connector = connect()
    assert {row["__status"] for row in outcomes(connector, creates(*names))} == {"done"}
    assert sorted(row["name"] for row in service.rows("contacts")[25:]) == sorted(names)
    found = connector.find(CONTACTS, ["name"], pl.DataFrame({"name": names}))
    assert sorted(found["name"]) == sorted(names)


# ---------------------------------------------------------------- the file


def test_everything_that_is_wrong_in_a_file_is_told_at_its_line(tmp_path):
    (tmp_path / "wrong.yaml").write_text(
        """connector: wrong
http:
  base_url: http://api.example.com
  limit: []
objects:
  contacts:
    key: id
    read:
      full: {get: /contacts, items: data, page: {style: cursor}}
      one: {get: "/contacts/${idd}"}
    write:
      update: {patch: /contacts, body: "${changed|isoo}"}
""",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        RestConnector.open("crm", {"file": "wrong.yaml"}, directory=str(tmp_path))
    told = {(problem.line, problem.message.split(":")[0]) for problem in caught.value.problems}
    assert (4, "unknown setting `limit`") in told
    assert {line for line, _ in told} >= {4, 7, 9, 12}
    assert "did you mean `limits`?" in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("one: {get: '/contacts/${idd}'}", "did you mean `${id}`?"),
        ("one: {get: /contacts}", "nothing in it says which row"),
        ("find: {get: /contacts, columns: [emial]}", "did you mean `email`?"),
    ],
)
def test_what_does_not_fit_together_is_told(tmp_path, wrong, message):
    text = "connector: x\nhttp: {base_url: 'https://api.example.com'}\nobjects:\n  contacts:\n    key: /id\n    columns: {email: text}\n"
    (tmp_path / "x.yaml").write_text(f"{text}    read:\n      full: {{get: /contacts}}\n      {wrong}\n", encoding="utf-8")
    with pytest.raises(TrueupError) as caught:
        RestConnector.open("crm", {"file": "x.yaml"}, directory=str(tmp_path))
    assert message in str(caught.value)
    assert ":9:" in str(caught.value)
