"""Cards of many programs: what is not written keeps every byte; what is written is read so again."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.connectors.carddav_card import Card, CardError, escaped, folded, parsed, unescaped
from trueup.connectors.carddav_columns import CardColumn, column_at, declared, key_of, name_of, standard

PHONE = """BEGIN:VCARD
VERSION:3.0
PRODID:-//A phone//EN
N:O'Hara;Zoë;;Dr.;
FN:Dr. Zoë O'Hara
ORG:North\\, South & Co.;Sales;
item1.EMAIL;type=INTERNET;type=pref:zoe@example.org
item1.X-ABLabel:_$!<Other>!$_
EMAIL;type=INTERNET;type=WORK:zoe@work.example.org
TEL;type=CELL;type=VOICE;type=pref:+44 20 7946 0000
item2.ADR;type=HOME:;;1 High Street\\nBack door;London;;N1 1AA;United Kingdom
item2.X-ABADR:gb
BDAY;value=date:1980-01-31
NOTE:one\\, two\\; three\\\\n\\nfour
PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDB
 kSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/
X-SOCIALPROFILE;type=twitter;x-user=zoe:http://social.example.org/zoe
CATEGORIES:friends,"best\\, of",work
UID:c0ffee
REV:2026-01-02T03:04:05Z
END:VCARD
""".replace("\n", "\r\n")
OLD = """BEGIN:VCARD
VERSION:2.1
N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=
=C3=B6rg;;;
TEL;HOME;PREF:030 1
TEL;WORK:030 2
END:VCARD
"""


def columns() -> dict[str, CardColumn]:
    return standard() | declared({"loyalty": {"at": "X-LOYALTY", "type": "integer"}})


def values(text: str, *names: str) -> list[Any]:
    return [columns()[name].read(parsed(text)) for name in names]


def changed(text: str, **values: Any) -> str:
    card = parsed(text)
    for name, value in values.items():
        card = columns()[name].written(card, value)
    return card.written()


def lines_that_differ(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = before.split("\r\n"), after.split("\r\n")
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_a_card_of_a_phone_is_read():
    assert values(PHONE, "full_name", "family_name", "given_name", "name_prefix", "name_suffix") == [
        "Dr. Zoë O'Hara",
        "O'Hara",
        "Zoë",
        "Dr.",
        None,
    ]
    assert values(PHONE, "organization", "department") == ["North, South & Co.", "Sales"]
    assert values(PHONE, "email", "email_work", "email_home") == ["zoe@example.org", "zoe@work.example.org", None]
    assert values(PHONE, "emails") == [["zoe@example.org", "zoe@work.example.org"]]
    assert values(PHONE, "phone_mobile", "home_street", "home_city", "home_code", "work_city") == [
        "+44 20 7946 0000",
        "1 High Street\nBack door",
        "London",
        "N1 1AA",
        None,
    ]
    assert values(PHONE, "birthday", "note") == [date(1980, 1, 31), "one, two; three\\n\nfour"]


def test_a_card_of_2_1_is_read():
    assert values(OLD, "family_name", "given_name", "phone_home", "phone") == ["Müller", "Jörg", "030 1", "030 1"]


@pytest.mark.parametrize("text", [PHONE, OLD.replace("=\n=", "=")])
def test_what_is_not_written_keeps_every_byte(text):
    assert parsed(text).written() == text


def test_one_value_changes_one_line():
    gone, new = lines_that_differ(PHONE, changed(PHONE, email="new@example.org"))
    assert gone == ["item1.EMAIL;type=INTERNET;type=pref:zoe@example.org"]
    assert new == ["item1.EMAIL;TYPE=INTERNET;TYPE=pref:new@example.org"]
    gone, new = lines_that_differ(PHONE, changed(PHONE, home_city="Leeds"))
    assert new == ["item2.ADR;TYPE=HOME:;;1 High Street\\nBack door;Leeds;;N1 1AA;United Kingdom"]


def test_a_part_of_a_name_is_changed_and_the_others_stay():
    after = changed(PHONE, given_name="Zoé; the 2nd")
    assert values(after, "family_name", "given_name", "name_prefix") == ["O'Hara", "Zoé; the 2nd", "Dr."]


def test_a_value_that_goes_takes_its_line_and_the_label_of_its_group_along():
    gone, new = lines_that_differ(PHONE, changed(PHONE, email=None))
    assert (gone, new) == (["item1.EMAIL;type=INTERNET;type=pref:zoe@example.org", "item1.X-ABLabel:_$!<Other>!$_"], [])


def test_a_list_keeps_the_lines_of_the_values_that_stay():
    after = changed(PHONE, emails=["zoe@work.example.org", "third@example.org"])
    assert values(after, "emails") == [["zoe@work.example.org", "third@example.org"]]
    assert "EMAIL;type=INTERNET;type=WORK:zoe@work.example.org" in after.split("\r\n")


def test_what_is_not_there_is_added_with_its_type():
    assert "TEL;TYPE=FAX:123" in changed(PHONE, phone_fax="123").split("\r\n")
    assert "TEL;TYPE=fax:123" in changed(PHONE.replace("VERSION:3.0", "VERSION:4.0"), phone_fax="123").split("\r\n")


def test_a_declared_column_is_a_property_of_its_own():
    assert values(changed(PHONE, loyalty=7), "loyalty") == [7]
    with pytest.raises(CardError, match="is no integer"):
        values(PHONE.replace("UID:", "X-LOYALTY:many\r\nUID:"), "loyalty")


@pytest.mark.parametrize(
    ("at", "words"), [("N", "has parts"), ("ADR.town", "has no part 'town'"), ("NOTE.x", "has no part"), ("a b", "no place in a card")]
)
def test_a_place_that_is_none_is_said(at, words):
    with pytest.raises(CardError, match=words):
        column_at("x", at, "text")


@pytest.mark.parametrize("text", ["", "hello", "BEGIN:VCARD\r\nVERSION:3.0\r\n", PHONE + PHONE, "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"])
def test_what_is_no_card_is_refused(text):
    with pytest.raises(CardError):
        parsed(text)


def test_control_characters_are_refused_before_anything_is_sent():
    with pytest.raises(CardError, match="control characters"):
        changed(PHONE, note="bell\x07")


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\n\\;,:"^ '), max_size=200))
def test_any_text_survives(text):
    assert unescaped(escaped(text)) == text
    card = columns()["note"].written(Card(parsed(PHONE).lines), text)
    assert columns()["note"].read(parsed(card.written())) == text
    assert all(len(line.encode()) <= 75 for line in card.written().split("\r\n") if line not in PHONE)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=300))
def test_folds_go_away_again(text):
    assert folded(text).replace("\r\n ", "") == text


@given(st.text(min_size=1, max_size=40))
def test_a_key_leads_to_its_card_and_back(key):
    assert "/" not in name_of(key)
    assert key_of(name_of(key)) == key
