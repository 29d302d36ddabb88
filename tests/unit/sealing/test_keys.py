"""Keys, and what is sealed under them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import MasterKeyError
from trueup.sealing import Key, NotOpenedError, new_key, parse_keys, seal, unseal

KEY = Key(bytes(range(32)))


@given(st.binary(max_size=300), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_is_sealed_opens_under_its_key_and_name_alone(value, name):
    sealed = seal(KEY, value, name)
    assert unseal(KEY, sealed, name) == value
    assert value not in sealed or len(value) < 4
    for key, told in ((new_key(), name), (KEY, name + "x")):
        with pytest.raises(NotOpenedError):
            unseal(key, sealed, told)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_and_no_cut_goes_unseen(place, change):
    sealed = seal(KEY, b"a value", "name")
    wrong = bytearray(sealed)
    wrong[place % len(sealed)] ^= change
    for text in (bytes(wrong), sealed[: place % len(sealed)]):
        with pytest.raises(NotOpenedError):
            unseal(KEY, text, "name")


def test_nothing_is_sealed_alike_twice():
    assert len({seal(KEY, b"a value", "name") for _ in range(50)}) == 50


def test_a_key_survives_as_text_and_in_the_forms_of_key_services():
    forms = [KEY.text, base64.b64encode(KEY.raw).decode(), KEY.raw.hex(), base64.b64encode(KEY.text.encode()).decode()]
    for form in forms:
        assert parse_keys(f"# a comment\n\n {form} \n", "here") == [KEY]
    other = new_key()
    assert parse_keys(f"{other.text} {KEY.text}\n{other.text}", "here") == [other, KEY]
    assert parse_keys("", "here") == []


@pytest.mark.parametrize("length", range(1, len(KEY.text)))
def test_a_key_that_was_cut_short_is_told_and_never_shown(length):
    with pytest.raises(MasterKeyError, match="here: text 1") as caught:
        parse_keys(KEY.text[:length], "here")
    assert KEY.text[11:19] not in str(caught.value)


def test_a_mistyped_key_is_told():
    with pytest.raises(MasterKeyError, match="mistyped"):
        parse_keys(KEY.text[:-1] + ("A" if KEY.text[-1] != "A" else "B"), "here")


def test_a_key_is_not_shown_by_accident():
    assert KEY.raw.hex() not in repr(KEY)
    assert str(KEY.raw) not in repr(KEY)
    assert KEY.text not in f"{KEY} {[KEY]}"
    assert len(KEY.id) == 8
