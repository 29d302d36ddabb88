"""`${secret:NAME}` in a configuration, and where the state and the master key are, before anything else is known of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trueup.config.load import load_config
from trueup.config.secrets import read_state_place
from trueup.errors import ConfigError, MasterKeyError, Problem, TrueupError
from trueup.model import Config, KeyPlace
from trueup.sealing import MasterKeys
from trueup.store import Store, migrate, schema
from trueup.store.vault import Vault

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
KEY = "master_key: {file: master.key}\n"
CRM = "systems: {crm: {connector: postgres, url: '%s'}}\n"
MARKER = "MARKER-4711"


@pytest.fixture
def kept(tmp_path: Path):
    """Keep secrets in the state beside the configuration."""

    def keep(**values: str) -> None:
        masters = MasterKeys(KeyPlace("file", str(tmp_path / "master.key")))
        if not masters.all():
            masters.add(first=False)
        with Store.open(str(tmp_path / ".trueup" / "state.db")) as store:
            for name, value in values.items():
                Vault(store, masters).set_(name, value, NOW)

    return keep


def test_secrets_are_filled_in_beside_variables(load, kept):
    kept(USER="ann", PW="p$$w${HOST}", UNUSED="x")
    config = load(KEY + CRM % "postgresql://${secret:USER}:${secret:PW}@${HOST}/$${db}", HOST="server")
    assert config.systems["crm"].settings["url"] == "postgresql://ann:p$$w${HOST}@server/${db}"
    assert "ann" not in repr(config)


def test_no_error_carries_the_value_of_a_secret(load, kept):
    kept(WORDS=f"it's {MARKER}", FEW="abc")
    load(KEY + "systems: {crm: {connector: csv, path: 'x.csv', encoding: '${secret:WORDS}', delimiter: '${secret:FEW}'}}\n")
    told = TrueupError(f"unknown encoding it's {MARKER}", hint=f"write another word than {f'it{chr(39)}s {MARKER}'!r}")
    assert (told.message, told.hint) == ("unknown encoding ${secret:WORDS}", 'write another word than "${secret:WORDS}"')
    assert str(Problem("trueup.yaml", 3, "systems.crm", f"no it's {MARKER}")) == "trueup.yaml:3: systems.crm: no ${secret:WORDS}"
    assert str(TrueupError("abc")) == "abc"


def test_a_problem_without_a_file_begins_with_its_path():
    assert str(Problem("", 0, "systems.crm", "is odd")) == "systems.crm: is odd"


def test_a_secret_that_is_not_set_is_named_with_what_to_do(problems, kept):
    [before] = problems(KEY + CRM % "${secret:CRM_URL}")
    kept(OTHER="x")
    [after] = problems(KEY + CRM % "${secret:CRM_URL}")
    for problem in (before, after):
        assert (problem.line, problem.path, problem.message) == (2, "systems.crm.url", "the secret `CRM_URL` is not set")
        assert problem.hint == "run `trueup secrets set CRM_URL`"


def test_a_state_is_not_made_by_looking_for_a_secret(problems, tmp_path):
    problems(KEY + CRM % "${secret:CRM_URL}")
    assert [path.name for path in tmp_path.iterdir()] == ["trueup.yaml"]


def test_without_the_master_key_one_problem_says_so(problems, kept, tmp_path):
    kept(A=MARKER, B=MARKER)
    (tmp_path / "master.key").unlink()
    [problem] = problems(KEY + CRM % "postgresql://${secret:A}:${secret:B}@server/db")
    assert "the secret `A` cannot be had: there is no master key" in problem.message
    assert MARKER not in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        "state: '${secret:A}'\n" + KEY + CRM % "x",
        "master_key: {file: '${secret:A}'}\n" + CRM % "x",
        "master_key: {env: '${secret:A}'}\n" + CRM % "${secret:B}",
    ],
)
def test_what_opens_the_state_cannot_be_a_secret_in_it(problems, kept, text):
    kept(A="x", B="y")
    found = problems(text)
    assert any("what opens the state cannot be one of them" in problem.message for problem in found)
    assert all(problem.hint for problem in found)


def test_a_secret_cannot_be_part_of_what_records_hold(problems, kept):
    kept(A="x")
    entity = "entities: {c: {fields: {a: {}}, mappings: {crm: {object: t, key: id, fields: {a: a}, set: {b: '${secret:A}'}}}}}\n"
    [problem] = problems(KEY + CRM % "postgresql://x/y" + entity)
    assert "cannot be part of what records hold" in problem.message


def test_who_connects_to_no_system_needs_no_secret_and_no_key(tmp_path, load, kept):
    kept(A="x")
    (tmp_path / "master.key").unlink()
    (tmp_path / "trueup.yaml").write_text(KEY + CRM % "${secret:A}")
    assert "crm" in load_config(tmp_path / "trueup.yaml", {}, connects=False).systems
    with pytest.raises(ConfigError):
        load_config(tmp_path / "trueup.yaml", {})


def test_values_never_appear_in_problems(problems, kept):
    kept(PW=MARKER)
    found = problems(
        KEY
        + """
systems:
  crm: {connector: sqlite, path: 3, passwort: "${secret:PW}", timezone: "${secret:PW}", settle: "${secret:PW}"}
  web: {connector: "${secret:PW}", webhook: {verify: {kind: "${secret:PW}"}}}
"""
    )
    assert len(found) > 3
    assert MARKER not in "\n".join(map(str, found))
    assert any("${secret:PW}" in str(problem) for problem in found)


def test_secrets_in_a_state_of_an_older_trueup_are_read_and_its_tables_left_to_sync(load, kept, tmp_path, monkeypatch):
    kept(A="postgresql://x/y")
    older = schema.REVISION
    monkeypatch.setattr(schema, "REVISION", "9998")
    monkeypatch.setattr(migrate, "known_revisions", lambda: {older})
    assert load(KEY + CRM % "${secret:A}").systems["crm"].settings["url"] == "postgresql://x/y"


@pytest.mark.parametrize(
    ("written", "words"),
    [("{}", "does not say"), ("{file: a, env: B}", "does not say"), ('{command: "a \'b"}', "cannot be read"), ("{fle: x}", "fle")],
)
def test_a_master_key_that_is_nowhere_is_a_problem(problems, written, words):
    found = problems(f"master_key: {written}\n" + CRM % "postgresql://x/y")
    assert words in str(found[0])
    assert found[0].line == 1


def test_where_the_master_key_may_be(tmp_path, load):
    def place(text: str, **environ: str) -> KeyPlace:
        config: Config = load(text + CRM % "postgresql://x/y", **environ)
        assert read_state_place(tmp_path / "trueup.yaml", environ).master_key == config.master_key
        return config.master_key

    assert place("") == KeyPlace("env", "TRUEUP_MASTER_KEY", chosen=False)
    assert place("master_key: {file: a/../key}\n") == KeyPlace("file", str(tmp_path / "key"))
    assert place("master_key: {keyring: ours}\n") == KeyPlace("keyring", "ours")
    assert place("master_key: {command: \"kms 'a b' c\"}\n").command == ("kms", "a b", "c")
    assert place("master_key: {command: [kms, a b]}\n").where == "kms 'a b'"
    assert place("master_key: {env: '${WHICH}'}\n", WHICH="MK", MK="k").given == "k"
    (tmp_path / ".env").write_text("MK=k\n")
    assert place("master_key: {env: MK}\n").given_in == str(tmp_path / ".env")
    assert place("master_key: {env: MK}\n", MK="own") == KeyPlace("env", "MK", given="own")


def test_the_place_is_read_whatever_else_is_wrong(tmp_path):
    file = tmp_path / "trueup.yaml"
    file.write_text(KEY + "state: s.db\nsystems: {a: {connector: nonsense, url: '${secret:A}'}, b: 3}\nentities: [1]\n")
    place = read_state_place(file, {})
    assert (place.target, place.master_key.where) == (str(tmp_path / "s.db"), str(tmp_path / "master.key"))
    for text in ("", "- a\n", "state: ftp://x\n", "state: '${NONE}'\n"):
        file.write_text(text)
        with pytest.raises(ConfigError):
            read_state_place(file, {})
    file.write_text("master_key: 3\n")
    with pytest.raises(MasterKeyError):
        read_state_place(file, {})


def test_nothing_that_seals_is_loaded_where_no_secret_is_named(tmp_path):
    (tmp_path / "trueup.yaml").write_text(KEY + CRM % "postgresql://x/y")
    code = (
        "import sys; from trueup.config.load import load_config; load_config(sys.argv[1]);"
        " print(sorted({'cryptography', 'sqlcipher3', 'keyring', 'sqlalchemy', 'trueup.store'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "trueup.yaml")], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
