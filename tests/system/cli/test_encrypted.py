"""Every command works on an encrypted state as on any other, and leaves nothing of it in the clear."""

from __future__ import annotations

import pytest

from tests.system.cli.test_help import COMMANDS
from tests.system.cli.tool import CONFIG, company

MARKER = "Marked-31c9"
WITHOUT_STATE = {"drift", "check", "rehearse", "schema"}
WORDS = {
    "run": ["1"],
    "record": ["customer", "crm:1"],
    "explain": ["customer", "crm:1"],
    "sql": ["SELECT count(*) FROM customer"],
    "pause": ["crm"],
    "resume": ["crm"],
    "undo": ["1", "--plan"],
    "dedupe": ["customer"],
    "export": ["customer", "--to", "."],
    "manual": ["due"],
    "runbook": ["--print"],
    "rehearse": ["--rounds", "0"],
    "connector": ["check", "--help"],
    "grants": ["crm"],
    "restore": ["{backup}"],
    "rebuild": ["--replace"],
}
LAST = ("restore", "rebuild")


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False], ids=["from the start", "converted"])
def test_every_command_works_on_an_encrypted_state(tmp_path, first):
    project = company(
        tmp_path, "master_key: {file: keys/master.key}\nretention: {history: 400d}\n" + CONFIG, people=[(1, MARKER, "ada@example.com", "1")]
    )
    project.trueup("keys", "new").expect(0)
    if not first:
        project.trueup("sync").expect(0)
    project.trueup("keys", "encrypt").expect(0)
    if first:
        project.trueup("sync").expect(0)
    backup = project.trueup("backup", "--json").expect(0).json
    kept = next((str(value) for value in backup.values() if str(value).endswith(".trueup")), "")
    # They never end; come before a state; want a source of truth; want a package of somebody else.
    left_out = {"serve", "worker"} | {"decide", "init"} | {"migrate"} | {"import"}
    known = set(project.trueup("--help").expect(0).out.partition("Commands:")[2].split()) & set(COMMANDS) - left_out
    assert len(known) > 15
    for name in (
        [*sorted(known - set(LAST), key=COMMANDS.index), *(name for name in LAST if name in known)] if first else ["sync", "verify"]
    ):
        ended = project.trueup(name, *(word.format(backup=kept) for word in WORDS.get(name, [])))
        assert "Traceback" not in ended.err, (name, ended.err)
        assert ended.status == 0, (name, ended.out, ended.err)
        states = [path for path in (tmp_path / ".trueup").rglob("state.db*") if path.is_file()]
        assert [path.name for path in states if MARKER.encode() in path.read_bytes()] == [], name
        assert [path.name for path in states if path.read_bytes().startswith(b"SQLite format 3")] == [], name
    project.trueup("sync").expect(0)
    assert project.trueup("keys", "--json").expect(0).json["state_encrypted"]
    assert MARKER in project.trueup("record", "customer", "crm:1").expect(0).out


def test_the_wrong_key_is_told_by_every_command_that_needs_the_state(tmp_path):
    project = company(tmp_path, "master_key: {file: keys/master.key}\n" + CONFIG)
    project.trueup("keys", "new").expect(0)
    project.trueup("keys", "encrypt").expect(0)
    project.trueup("sync").expect(0)
    (tmp_path / "keys" / "master.key").unlink()
    project.trueup("keys", "new").expect(0)
    for words in (
        ["status"],
        ["sync"],
        ["plan"],
        ["runs"],
        ["sql", "SELECT 1"],
        ["keys", "rotate"],
        ["keys", "encrypt"],
        ["keys", "decrypt"],
    ):
        ended = project.trueup(*words).expect(1)
        assert "sealed under the master key" in ended.err, words
        assert "put the key" in ended.err, words
    assert "MISSING" in project.trueup("keys").expect(3).out
