"""What a message says becomes events; what cannot be read is refused, and what says too little is a hint at everything."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.store.inbox import Event
from trueup.web.messages import MOST_EVENTS, Reading, UnreadableError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(
    body: Any,
    event: dict[str, Any] | None = None,
    *,
    records: list[list[str]] | None = None,
    message_id: str | None = None,
    zone: str | None = None,
) -> list[Event]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reading.of("shop", event, records, zone).events(text, NOW, message_id)


def test_the_agreed_form():
    [one] = read({"object": "contacts", "key": "42"})
    assert (one.system, one.object, one.key, one.event_id, one.received_at) == ("shop", "contacts", "42", None, NOW)
    assert one.body == b'{"object": "contacts", "key": "42"}'
    first, second = read(
        [{"object": "contacts", "key": 42}, {"object": "orders", "key": ["7", 1], "id": "e2", "at": "2026-03-01T10:00:00Z"}]
    )
    assert (first.key, first.item, second.key, second.item) == ("42", 0, "7|1", 1)
    assert (second.event_id, second.at) == ("e2", datetime(2026, 3, 1, 10, tzinfo=UTC))
    assert read([]) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"object": "a", "key": NaN}',
        b"[" * 100_000,
        b'"\\ud800"',
        b'{"object": "contacts"}',
        b'{"object": "contacts", "key": null}',
        b'{"object": "contacts", "key": {}}',
        b'{"object": "contacts", "key": ""}',
        b'{"object": "contacts", "key": []}',
        b'{"object": 5, "key": "1"}',
        b'{"key": "1"}',
        b'"text"',
        b"null",
        b"5",
        b'[{"object": "contacts", "key": "1"}, 5]',
        b'{"object": "contacts", "key": "a\\u0000b"}',
        b'{"object": "contacts", "key": "' + b"x" * 1001 + b'"}',
    ],
)
def test_what_is_not_of_the_agreed_form_is_unreadable(body):
    with pytest.raises(UnreadableError):
        read(body)


def test_too_many_events_in_one_message():
    item = {"object": "contacts", "key": "1"}
    assert len(read([item] * MOST_EVENTS)) == MOST_EVENTS
    with pytest.raises(UnreadableError):
        read([item] * (MOST_EVENTS + 1))


def test_pointers_and_plain_words():
    body = {"id": "evt_1", "type": "x", "data": {"id": 42, "table": "contacts"}}
    [one] = read(body, {"id": "/id", "key": ("/data/id",), "object": "/data/table"})
    assert (one.event_id, one.key, one.object) == ("evt_1", "42", "contacts")
    [one] = read(body, {"key": ("/data/id",), "object": "customers"})
    assert (one.event_id, one.key, one.object) == (None, "42", "customers")
    [one] = read(body, {"key": ("/data/id", "/data/table")})
    assert one.key == "42|contacts"
    [one] = read({"a/b": {"m~n": ["x", "y"]}}, {"key": ("/a~1b/m~0n/1",)})
    assert one.key == "y"


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"id": None}}, {"data": {"id": {}}}, {"data": [1]}, "ping", 5, None])
def test_a_message_that_names_no_record_is_a_hint_at_everything(body):
    [one] = read(body, {"id": "/id", "key": ("/data/id",), "object": "/data/table"})
    assert (one.key, one.object, one.event_id) == (None, None, None)


def test_lists_as_a_body_and_inside_of_one():
    items = [{"objectId": 1, "eventId": 9}, {"objectId": 2, "eventId": 10}]
    assert [(one.key, one.event_id) for one in read(items, {"id": "/eventId", "key": ("/objectId",)})] == [("1", "9"), ("2", "10")]
    wrapped = {"events": items}
    assert [one.key for one in read(wrapped, {"key": ("/objectId",), "list": "/events"})] == ["1", "2"]
    with pytest.raises(UnreadableError):
        read({"other": items}, {"key": ("/objectId",), "list": "/events"})


def test_the_headers_id_counts_where_the_body_tells_none():
    item = {"object": "contacts", "key": "1"}
    assert [(one.event_id, one.item) for one in read([item, item], message_id="msg_1")] == [("msg_1", 0), ("msg_1", 1)]
    [one] = read({"id": "own", "k": 1}, {"id": "/id", "key": ("/k",)}, message_id="msg_1")
    assert one.event_id == "own"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        (b"42", "42"),
        (b"-1", "-1"),
        (b"12345678901234567890123", "12345678901234567890123"),
        (b"42.0", "42"),
        (b"42.50", "42.5"),
        (b"1e2", "100"),
        (b"0.10", "0.1"),
        (b"true", "true"),
        (b'"007"', "007"),
        (b'" x "', " x "),
        ('"Zoë 💛"'.encode(), "Zoë 💛"),
        (b'"a|b"', "a|b"),
    ],
)
def test_keys_keep_their_digits(written, key):
    [one] = read(b'{"k": ' + written + b"}", {"key": ("/k",)})
    assert one.key == key


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-07-01 10:00:00", datetime(2026, 7, 1, 8, tzinfo=UTC)),
        (1_772_359_200, datetime(2026, 3, 1, 10, tzinfo=UTC)),
        (1_772_359_200_000, datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("1772359200", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        (1_772_359_200.5, datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
        (True, None),
        ({}, None),
        (-5, None),
        (1e300, None),
        ("9" * 400, None),
    ],
)
def test_the_time_that_a_sender_tells(told, moment):
    [one] = read({"k": 1, "at": told}, {"key": ("/k",), "at": "/at"}, zone="Europe/Berlin")
    assert one.at == moment


# ---------------------------------------------------------------- systems that only push


def test_a_record_is_kept_as_it_came_and_known_by_its_keys():
    body = b'{"lead": {"id": 7, "email": "a@b.example", "budget": 10.50}}'
    [one] = read(body, records=[["/lead/id"]])
    [same] = read({"lead": {"id": 7, "email": "new"}}, records=[["/lead/id"]])
    [other] = read({"lead": {"id": 8}}, records=[["/lead/id"]])
    assert (one.key, one.object, one.body) == ("7", None, body)
    assert one.record == same.record != other.record


def test_records_of_a_list_keep_their_digits():
    first, second = read(b'[{"id": 1, "n": 0.10}, {"id": 2, "n": 12345678901234567890123}]', records=[["/id"]])
    assert (first.body, second.body) == (b'{"id":1,"n":0.10}', b'{"id":2,"n":12345678901234567890123}')


def test_a_record_of_several_mappings_is_replaced_only_by_one_that_is_the_same_in_all():
    keys = [["/lead/id"], ["/company/id"]]
    [one] = read({"lead": {"id": 1}, "company": {"id": 5}}, records=keys)
    [moved] = read({"lead": {"id": 1}, "company": {"id": 6}}, records=keys)
    [again] = read({"lead": {"id": 1}, "company": {"id": 5}, "x": 1}, records=keys)
    assert one.record == again.record != moved.record
    assert one.key is None  # which of the two has changed is not told


def test_a_record_without_its_key_replaces_nothing():
    one, two = (read({"lead": {"name": name}}, records=[["/lead/id"]])[0] for name in ("a", "b"))
    assert one.record != two.record
    assert one.record is not None
    assert one.key is None


def test_a_record_is_an_object():
    with pytest.raises(UnreadableError):
        read([1], records=[["/id"]])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@pytest.mark.parametrize(
    ("event", "records"),
    [(None, None), ({"id": "/id", "key": ("/0", "/a"), "object": "/o", "at": "/at", "list": "/l"}, None), ({"key": ("/k",)}, [["/k"]])],
)
def test_anything_else_is_events_or_unreadable_and_nothing_third(body, event, records):
    try:
        found = read(body, event, records=records)
    except UnreadableError:
        return
    assert all(isinstance(one.body, bytes) for one in found)
