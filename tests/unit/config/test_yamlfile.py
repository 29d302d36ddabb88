"""YAML with line numbers: what plain scalars mean, where each path stands, and that no text is too broken for a message."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.yamlfile import MAX_DEPTH, YamlDocument, dotted, parse_yaml, plain, read_yaml


def parsed(text: str) -> YamlDocument:
    return parse_yaml(text, "f.yaml")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("NO", "NO"),
        ("no", "no"),
        ("off", "off"),
        ("yes", "yes"),
        ("02:00", "02:00"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("2026-11-20", "2026-11-20"),
        ("1.2.3", "1.2.3"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("5", 5),
        ("-12", -12),
        ("0", 0),
        ("0x1F", 31),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("9" * 401, "9" * 401),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says_and_business_data_needs(written, meant):
    document = parsed(f"a: {written}")
    assert document.problems == ()
    assert plain(document.data) == {"a": meant}
    assert type(plain(document.data)["a"]) is type(meant)


def test_numbers_remember_how_they_were_written_also_in_copies():
    data = copy.deepcopy(parsed("[1.10, 0x1F]").data)
    assert [item.text for item in data] == ["1.10", "0x1F"]


def test_keys_are_always_text():
    assert parsed("{1: a, true: b, 007: c, NO: d, ~: e}").data == {"1": "a", "true": "b", "007": "c", "NO": "d", "~": "e"}


def test_every_path_has_the_line_of_its_key_or_item():
    document = parsed("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n\nd: {e: 3,\n  f: 4}\n")
    wanted = {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "y"): 5,
        ("d", "e"): 7,
        ("d", "f"): 8,
    }
    assert {path: document.line(path) for path in wanted} == wanted
    assert document.line(("a", "c", "not there", "at all")) == 3


def test_all_doubled_keys_are_told_and_the_first_stays():
    document = parsed("a: 1\nb: {x: 1, x: 2}\na: 3\n")
    assert [(problem.line, problem.path) for problem in document.problems] == [(2, "b.x"), (3, "a")]
    assert "line 1" in document.problems[1].message
    assert document.data == {"a": 1, "b": {"x": 1}}


def test_aliases_and_merges_are_followed():
    document = parsed("base: &b {q: 1, r: 2}\nuse:\n  <<: *b\n  q: 5\nagain: *b\n")
    assert document.data["use"] == {"q": 5, "r": 2}
    assert document.data["again"] == {"q": 1, "r": 2}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a:\n\t- b", 2, "tab"),
        ("a: {b: 1\nc: [", 2, "not valid YAML"),
        ("a: 'x", 1, "not valid YAML"),
        ("a: b: c", 1, "`:` is not expected"),
        ("a: *nowhere", 1, "alias"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: 1\nb: \x07", 2, "control character"),
        ("a: &x [*x]", 1, "contains itself"),
        ("a: &x {<<: *x}", 1, "contains itself"),
        ("a: !!python/object:os.system x", 1, "tag"),
        ("? [a, b]\n: c", 1, "plain text"),
    ],
)
def test_broken_text_is_a_problem_with_its_line(text, line, words):
    document = parsed(text)
    assert [(problem.line, words in problem.message) for problem in document.problems] == [(line, True)]


def test_depth_and_size_are_bounded():
    assert "nested" in parsed("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)).problems[0].message
    assert "nested" in parsed("[" * 3000).problems[0].message
    laughs = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))])
    assert "more than" in parsed(laughs).problems[0].message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_in_its_encoding(tmp_path: Path, encoding):
    (tmp_path / "f.yaml").write_text("name: Zoë\n", encoding=encoding)
    assert read_yaml(tmp_path / "f.yaml").data == {"name": "Zoë"}


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path):
    assert "no such file" in read_yaml(tmp_path / "missing.yaml").problems[0].message
    assert "cannot be read" in read_yaml(tmp_path).problems[0].message
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nname: Zo\xeb\n")
    [problem] = read_yaml(tmp_path / "latin.yaml").problems
    assert (problem.line, "UTF-8" in problem.message) == (2, True)


def test_paths_for_people():
    assert dotted(("entities", "customer", "match", 0)) == "entities.customer.match[0]"
    assert dotted(("write", "a.b")) == 'write."a.b"'


@given(st.text())
def test_any_text_gives_a_document(text):
    document = parsed(text)
    assert document.data is not None or document.problems or not text.strip() or plain(document.data) is None


@given(st.text(alphabet="ab:-#&*!|>'\"{}[],?%@`\n \t~<=01.\\UxN"))
def test_any_heap_of_yaml_signs_gives_a_document(text):
    document = parsed(text)
    assert all(problem.message and problem.file == "f.yaml" for problem in document.problems)
