"""The chain of the audit trail: whatever is done to its lines is found, and the first line that suffered is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.chain import NOTHING, Head, canonical, chained, examine, hash_of, read_head

Chain = list[tuple[str, str]]
WHAT = st.dictionaries(st.text(max_size=4), st.none() | st.booleans() | st.integers() | st.text(max_size=6), max_size=3)
CONTENTS = st.lists(WHAT, min_size=2, max_size=8)


def chain_of(contents: list[dict[str, Any]]) -> Chain:
    end, lines = Head(), []
    for what in contents:
        text, end = chained({"what": what}, end)
        lines.append((text, end.hash))
    return lines


def head_of(lines: Chain) -> Head:
    return Head(len(lines), lines[-1][1])


def changed(text: str) -> str:
    """The line with something else in it, as canonical as before."""
    return canonical(json.loads(text) | {"what": {"another": "content"}})


@given(CONTENTS)
def test_a_chain_is_whole_and_ends_with_its_head(contents):
    lines = chain_of(contents)
    verdict = examine(lines, head_of(lines))
    assert verdict.flaw is None
    assert verdict.head == head_of(lines)


@given(CONTENTS, st.data())
def test_a_head_that_was_noted_earlier_is_still_in_the_chain(contents, data):
    lines = chain_of(contents)
    earlier = head_of(lines[: data.draw(st.integers(1, len(lines)))])
    assert examine(lines, earlier).flaw is None
    assert examine(lines, Head(None, earlier.hash)).flaw is None
    assert examine(lines, Head()).flaw is None


@given(CONTENTS, st.data())
def test_a_changed_line_is_named(contents, data):
    lines = chain_of(contents)
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] = (changed(lines[at][0]), lines[at][1])
    flaw = examine(lines).flaw
    assert flaw is not None
    assert (flaw.number, "changed" in flaw.what) == (at + 1, True)


@given(CONTENTS, st.data())
def test_a_changed_line_with_its_hash_made_anew_is_named(contents, data):
    lines = chain_of(contents)
    at = data.draw(st.integers(0, len(lines) - 2))
    text = changed(lines[at][0])
    lines[at] = (text, hash_of(text))
    flaw = examine(lines).flaw
    assert flaw is not None
    assert flaw.number == at + 1


@given(CONTENTS, st.data())
def test_a_removed_line_is_named(contents, data):
    lines = chain_of(contents)
    at = data.draw(st.integers(0, len(lines) - 2))
    del lines[at]
    flaw = examine(lines).flaw
    assert flaw is not None
    assert (flaw.number, "missing" in flaw.what) == (at + 1, True)


@given(CONTENTS, WHAT, st.data())
def test_a_line_that_was_put_in_is_named(contents, what, data):
    lines = chain_of(contents)
    at = data.draw(st.integers(1, len(lines) - 1))
    text, end = chained({"what": what, "put": "in"}, head_of(lines[:at]))
    flaw = examine([*lines[:at], (text, end.hash), *lines[at:]]).flaw
    assert flaw is not None
    assert flaw.number in {at + 1, at + 2}


@given(CONTENTS, st.data())
def test_a_tail_that_was_cut_off_is_found_by_a_head(contents, data):
    lines = chain_of(contents)
    kept = lines[: data.draw(st.integers(0, len(lines) - 1))]
    assert examine(kept).flaw is None  # the chain alone cannot know
    for noted in (head_of(lines), Head(None, head_of(lines).hash)):
        flaw = examine(kept, noted).flaw
        assert flaw is not None
        assert (flaw.number, "cut off" in flaw.what) == (len(kept) + 1, True)


@given(CONTENTS, st.data())
def test_a_chain_made_anew_from_some_line_on_is_found_by_a_head(contents, data):
    lines = chain_of(contents)
    at = data.draw(st.integers(0, len(lines) - 1))
    anew = chain_of([*contents[:at], {"another": "past"}, *contents[at + 1 :]])
    assert examine(anew).flaw is None
    if anew != lines:
        flaw = examine(anew, head_of(lines)).flaw
        assert flaw is not None
        assert flaw.number == len(lines)
        assert examine(anew, Head(None, head_of(lines).hash)).flaw is not None


def test_lines_that_changed_places_are_found():
    one, two, three = chain_of([{"n": 1}, {"n": 2}, {"n": 3}])
    flaw = examine([one, three, two]).flaw
    assert flaw is not None
    assert flaw.number == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"number":"1"}', "17"])
def test_a_line_that_is_no_line_is_a_flaw_and_no_error(text):
    flaw = examine([(text, hash_of(text))]).flaw
    assert flaw is not None
    assert flaw.number == 1


def test_the_hash_can_be_made_by_hand():
    """What the documentation says: SHA-256 of the line as JSON with sorted keys and no spaces, in UTF-8."""
    text, end = chained({"what": {"who": "Zoë", "a": [1, None, True]}}, Head())
    assert text == '{"number":1,"previous":"' + NOTHING + '","what":{"a":[1,null,true],"who":"Zoë"}}'
    assert end == Head(1, "d9a8a36a322a0677887d3c468d51e54d8f9787271ecd3926b94024c14afbf768")


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object()])
def test_what_has_no_canonical_text_is_refused(value):
    with pytest.raises(ValueError, match=r".+"):
        canonical({"what": value})


def test_heads_are_read_as_they_are_written():
    head = Head(42, "ab" * 32)
    assert read_head(str(head)) == head
    assert read_head(" " + "AB" * 32 + "\n") == Head(None, "ab" * 32)
    for text in ("", "42", "42:ab", "x:" + "ab" * 32, "ab" * 31, "-1:" + "ab" * 32):
        assert read_head(text) is None
