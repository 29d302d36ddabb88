"""Commands that look only at the state work where the systems' secrets are not at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.cli.tool import CONFIG, company

SECRET = CONFIG.replace("path: crm.db", 'path: "${CRM_FILE}"')


@pytest.mark.parametrize(
    "words",
    ["status", "runs", "run 1", "record customer 1", "explain customer 1", "conflicts", "matches", "failures", "failures retry", "holds",
     "pause crm", "resume crm", "conflicts resolve 1 --value 12"],
)  # fmt: skip
def test_the_state_is_told_without_the_variables_of_systems(tmp_path: Path, words: str) -> None:
    project = company(
        tmp_path, SECRET.replace("conflict: last_write_wins", "conflict: manual").replace("    precedence: [crm, sheet]\n", "")
    )
    project.write("customers.csv", project.read("customers.csv").replace("ada@example.com,10.5", "ada@example.com,11"))
    project.trueup("sync", CRM_FILE="crm.db").expect(0)
    project.trueup(*words.split()).expect(0)


def test_the_state_can_be_asked_in_sql_without_the_variables_of_systems(tmp_path: Path) -> None:
    project = company(tmp_path, SECRET)
    project.trueup("sync", CRM_FILE="crm.db").expect(0)
    assert project.trueup("sql", "SELECT count(*) AS n FROM customer", "--json").expect(0).json == [{"n": 4}]


@pytest.mark.parametrize("words", ["sync", "plan", "check", "drift", "verify", "conflicts resolve 1 --value 12 --sync"])
def test_who_connects_needs_them(tmp_path: Path, words: str) -> None:
    project = company(tmp_path, SECRET)
    assert "CRM_FILE" in project.trueup(*words.split()).expect(1).err


def test_a_variable_of_the_state_is_always_needed(tmp_path: Path) -> None:
    project = company(tmp_path, 'state: "${STATE_FILE}"\n' + CONFIG)
    assert "STATE_FILE" in project.trueup("status").expect(1).err
