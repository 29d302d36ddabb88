"""Variables in a configuration: where they come from, what a missing one says, and that no value is ever told."""

from __future__ import annotations

from pathlib import Path

import pytest

from trueup.config.environment import parse_dotenv

ONE_SYSTEM = "systems: {crm: {connector: sqlite, path: %s}}\n"


def path_of(config) -> str:
    return str(config.systems["crm"].settings["path"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"${DIR}/crm.db"', "/data/crm.db"),
        ('"${DIR}${DIR}"', "/data/data"),
        ('"$${DIR}"', "${DIR}"),
        ('"a$$b"', "a$b"),
        ('"cost $5"', "cost $5"),
        ('"${NESTED}"', "${DIR}"),
    ],
)
def test_variables_are_filled_in_once(load, written, meant):
    assert path_of(load(ONE_SYSTEM % written, DIR="/data", NESTED="${DIR}")) == meant


def test_dotenv_beside_the_file_is_used_and_the_environment_wins(load, tmp_path: Path):
    (tmp_path / ".env").write_text("# local\nexport DIR='/from file'\nOTHER=x # not read\n", encoding="utf-8")
    assert path_of(load(ONE_SYSTEM % '"${DIR}"')) == "/from file"
    assert path_of(load(ONE_SYSTEM % '"${DIR}"', DIR="/from environment")) == "/from environment"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("A = spaced ", "spaced"),
        ("export A=x", "x"),
        ("A=", ""),
        ("A=a#b", "a#b"),
        ("A=a # b", "a"),
        ("A=# b", ""),
        ("A='a # b'", "a # b"),
        ("A='$x\\n'", "$x\\n"),
        ('A="a\\nb\\"c" # d', 'a\nb"c'),
        ('A="\\$x\\q"', "$x\\q"),
        ("A=a=b", "a=b"),
        ("A=x\r", "x"),
    ],
)
def test_lines_of_dotenv(line, value):
    assert parse_dotenv(line, ".env") == ({"A": value}, [])


def test_bad_lines_of_dotenv_are_told_without_their_text(problems, tmp_path: Path):
    (tmp_path / ".env").write_text("GOOD=1\nhunter2\nB='hunter2\nC='x'hunter2\n", encoding="utf-8")
    found = problems(ONE_SYSTEM % "x.db")
    assert [(Path(problem.file).name, problem.line) for problem in found] == [(".env", 2), (".env", 3), (".env", 4)]
    assert "hunter2" not in str(found)


def test_a_missing_variable_is_named_with_the_places_searched_and_nothing_else_is_said_of_it(problems, tmp_path: Path):
    (tmp_path / ".env").write_text("CRM_PTH=x\n", encoding="utf-8")
    [problem] = problems("systems:\n  crm: {connector: sqlite, path: '${CRM_PATH}'}\n")
    assert (problem.line, problem.path) == (2, "systems.crm.path")
    assert "`CRM_PATH`" in problem.message
    assert str(tmp_path / ".env") in problem.hint
    assert "did you mean `CRM_PTH`?" in problem.hint


def test_all_missing_variables_are_told_at_once(problems):
    found = problems("systems:\n  a: {connector: sqlite, path: '${ONE}/${TWO}'}\n  b: {connector: csv, path: '${THREE}'}\n")
    assert [
        name in str(problem)
        for name, problem in zip(["ONE", "TWO", "THREE"], sorted(found, key=lambda p: (p.line, "TWO" in p.message)), strict=True)
    ]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("${secret:C M}", "cannot name a secret"),
        ("${secret:}", "cannot name a secret"),
        ("${A", "never closed"),
        ("${A:-b}", "not the name"),
        ("${}", "not the name"),
    ],
)
def test_what_is_no_variable_is_told(problems, written, words):
    [problem] = problems(ONE_SYSTEM % f'"{written}"', A="x")
    assert words in problem.message


def test_values_never_appear_in_problems(problems):
    found = problems(
        """
        systems:
          crm: {connector: sqlite, path: 3, passwort: "${PW}", timezone: "${PW}", settle: "${PW}"}
          web: {connector: "${PW}", webhook: {verify: {kind: "${PW}"}}}
        entities:
          c:
            match: [["${PW}"]]
            fields: {a: {type: "${PW}", conflict: "${PW}"}, b: {hold_if: "${PW} = '${PW}'", pattern: "(${PW}"}}
            mappings: {crm: {object: t, key: id, where: "${PW}(x)", fields: {a: a, "z": "${PW}"}}}
        """,
        PW="hunter2hunter2",
    )
    assert len(found) > 8
    assert "hunter2" not in "\n".join(map(str, found))


def test_secrets_are_not_in_the_repr_of_a_configuration(load):
    config = load(ONE_SYSTEM % '"${DIR}"', DIR="hunter2")
    assert path_of(config) == "hunter2"
    assert "hunter2" not in repr(config)


def test_the_message_of_a_signature_keeps_its_own_variables(load):
    config = load(
        """
        systems:
          crm:
            connector: sqlite
            path: x.db
            webhook:
              verify: {kind: hmac, secret: "${S}", header: X-S, message: "${timestamp}.${body}", timestamp: {header: X-T}}
        """,
        S="abc",
    )
    verify = config.systems["crm"].webhook["verify"]
    assert (verify["secret"], verify["message"]) == ("abc", "${timestamp}.${body}")


def test_numbers_and_truth_from_variables(load):
    config = load("systems: {crm: {connector: sqlite, path: x, paused: '${P}', limits: {connections: '${N}'}}}", P="true", N="3")
    assert config.systems["crm"].paused is True
    assert config.systems["crm"].limits == {"connections": 3}
