"""`trueup secrets` and `trueup keys` as users run them; and that a value is nowhere to be seen, wherever one looks."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tests.system.cli.tool import Ended, Project, command, environment
from trueup.sealing import new_key

MARKER = "MARKERq7Zx19"
CONFIG = """\
master_key: {file: keys/master.key}
systems:
  crm:   {connector: postgres, url: "${secret:CRM_URL}"}
  sheet: {connector: csv, path: customers.csv}
entities:
  customer:
    match: [[email]]
    precedence: [crm, sheet]
    fields: {name: {type: text, required: true}, email: {type: text}}
    mappings:
      crm:   {object: contacts, key: id, fields: {name: name, email: email}}
      sheet: {key: No, fields: {name: Name, email: E-mail}}
"""


def project_in(folder: Path) -> Project:
    project = Project(folder)
    project.write("trueup.yaml", CONFIG)
    project.write("customers.csv", "No,Name,E-mail\n001,Ada,ada@example.com\n")
    return project


def keep(project: Project, name: str, value: str, *args: str, **env: str) -> Ended:
    """Set a secret from stdin."""
    done = subprocess.run(
        command("secrets", "set", name, *args),
        cwd=project.folder,
        env=environment(**env),
        input=value,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


# ---------------------------------------------------------------- a value is nowhere to be seen


@contextmanager
def watched_processes() -> Iterator[list[bytes]]:
    """The command lines of every process of this machine, looked at over and over while the block runs."""
    seen: set[bytes] = set()
    result: list[bytes] = []
    going = threading.Event()

    def look() -> None:
        while not going.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    with suppress(OSError):
                        seen.add((process / "cmdline").read_bytes())
            time.sleep(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield result
    finally:
        going.set()
        thread.join()
    result.extend(seen)


@contextmanager
def kept_copies(folder: Path) -> Iterator[Path]:
    """A folder for temporary files, and hard links to every file that was ever seen in it or in the project, to be searched afterwards."""
    temporary, kept = folder / "tmp", folder.parent / "kept"
    temporary.mkdir()
    kept.mkdir()
    going = threading.Event()

    def look() -> None:
        while not going.is_set():
            for path in folder.rglob("*"):
                with suppress(OSError):
                    if path.is_file():
                        os.link(path, kept / f"{path.stat().st_ino}-{path.name}")
            time.sleep(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield kept
    finally:
        going.set()
        thread.join()


@pytest.fixture
def marked_url(postgres_url: str) -> Iterator[str]:
    """A database of which the password is the marker."""
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        connection.execute("CREATE TABLE contacts (id serial PRIMARY KEY, name text NOT NULL, email text)")
        connection.execute("INSERT INTO contacts (name, email) VALUES ('Ben', 'ben@example.com')")
        connection.execute("DROP ROLE IF EXISTS marked")
        connection.execute(f"CREATE ROLE marked LOGIN PASSWORD '{MARKER}'")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO marked")
        connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO marked")
        yield sa.make_url(postgres_url).set(username="marked", password=MARKER).render_as_string(hide_password=False)
        connection.execute("DROP OWNED BY marked")
        connection.execute("DROP ROLE marked")


@pytest.mark.slow
def test_a_secret_is_in_no_file_no_output_no_message_and_no_process_list(tmp_path, marked_url):
    (tmp_path / "work").mkdir()
    project = project_in(tmp_path / "work")
    server = sa.make_url(marked_url)
    wrong = [
        server.set(password=MARKER + "x"),
        server.set(port=1),
        server.set(database="absent"),
        server.set(password=None, query={"password": MARKER}),
    ]
    broken = [f"postgresql://u:{MARKER}@[", f"postgresql://u:{MARKER} 1@h:x/y", MARKER]
    said = []
    with kept_copies(project.folder) as kept, watched_processes() as processes:

        def run(*args: str) -> Ended:
            ended = project.trueup(*args, TMPDIR=str(project.folder / "tmp"))
            assert "Traceback" not in ended.err or "--debug" in args
            said.append(ended.out + ended.err)
            return ended

        run("keys", "new").expect(0)
        said.append(keep(project, "CRM_URL", marked_url).expect(0).out)
        for args in (
            ["check"], ["drift", "--json"], ["plan", "--json"], ["sync"], ["keys", "rotate"], ["secrets", "rotate"], ["sync", "--full"],
            ["status", "--json"], ["record", "customer", "crm:1", "--json"], ["verify", "--json"], ["secrets", "list", "--json"],
        ):  # fmt: skip
            run(*args).expect(0)
        for url in [*(one.render_as_string(hide_password=False) for one in wrong), *broken]:
            said.append(keep(project, "CRM_URL", url).expect(0).out)
            run("--debug", "sync")
        run("runs", "--json").expect(0)
        run("failures", "--json").expect(0)
    for text in said:
        assert MARKER not in text, text
    assert [line for line in processes if MARKER.encode() in line] == []
    assert len(processes) > 3
    files = [*project.folder.rglob("*"), *kept.iterdir()]
    assert any("state.db-wal" in path.name for path in files)
    assert [path for path in files if path.is_file() and MARKER.encode() in path.read_bytes()] == []
    key = (project.folder / "keys" / "master.key").read_text().splitlines()[-1].encode()
    assert [path for path in files if path.is_file() and key in path.read_bytes() and "master.key" not in path.name] == []


# ---------------------------------------------------------------- setting


def test_a_value_on_the_command_line_is_refused_and_not_repeated(tmp_path):
    project = project_in(tmp_path)
    project.trueup("keys", "new").expect(0)
    ended = project.trueup("secrets", "set", "CRM_URL", MARKER).expect(2)
    assert "seen by everybody on this machine" in ended.err
    assert MARKER not in ended.out + ended.err
    assert project.trueup("secrets", "list", "--json").expect(0).json[0]["version"] is None


_RARE = [("v\r\n", "v"), ("v", "v"), ("a\nb\n", "a\nb"), ("ü日本\n", "ü日本")]


@pytest.mark.parametrize(
    ("given", "kept"), [("v\n", "v"), (" v \n\n", " v \n"), *(pytest.param(*one, marks=pytest.mark.slow) for one in _RARE)]
)
def test_one_line_end_behind_the_value_is_not_part_of_it(tmp_path, given, kept):
    project = Project(tmp_path)
    project.write("trueup.yaml", "master_key: {file: k}\nsystems:\n  a: {connector: sqlite, path: '${secret:P}'}\n")
    project.trueup("keys", "new").expect(0)
    done = subprocess.run(command("secrets", "set", "P"), cwd=tmp_path, env=environment(), input=given.encode(), check=True)
    assert done.returncode == 0
    code = "import trueup; print(ascii(trueup.open('trueup.yaml').config.systems['a'].settings['path']))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ascii(kept)


def test_values_that_are_none_and_names_that_cannot_be_are_refused(tmp_path):
    project = project_in(tmp_path)
    project.trueup("keys", "new").expect(0)
    assert "empty" in keep(project, "CRM_URL", "\n").expect(2).err
    assert "cannot name a secret" in keep(project, "CRM URL", "x").expect(2).err
    bad = subprocess.run(
        command("secrets", "set", "A"), cwd=tmp_path, env=environment(), input=b"\xff\xfe", capture_output=True, check=False
    )
    assert (bad.returncode, b"not UTF-8" in bad.stderr) == (2, True)


def typed(project: Project, *lines: str) -> tuple[int, str]:
    """Run `secrets set` on a terminal and type into it; returns its status and what the terminal showed."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(project.folder)
        os.execve(sys.executable, command("secrets", "set", "CRM_URL"), environment())  # noqa: S606
    shown = b""
    waiting = list(lines)
    try:
        while True:
            part = os.read(terminal, 1000)
            if not part:
                break
            shown += part
            if waiting and shown.endswith(b": "):
                os.write(terminal, waiting.pop(0).encode() + b"\n")
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_a_value_is_asked_for_twice_on_a_terminal_and_never_shown(tmp_path):
    project = project_in(tmp_path)
    project.trueup("keys", "new").expect(0)
    status, shown = typed(project, MARKER, MARKER)
    assert (status, MARKER in shown) == (0, False)
    assert project.trueup("secrets", "--json").expect(0).json[0]["version"] == 1
    status, shown = typed(project, MARKER, "another")
    assert (status, "the two values differ" in shown) == (2, True)
    assert project.trueup("secrets", "--json").expect(0).json[0]["version"] == 1


def test_without_a_master_key_nothing_is_made(tmp_path):
    project = project_in(tmp_path)
    before = project.files()
    ended = keep(project, "CRM_URL", "x").expect(1)
    assert "there is no master key" in ended.err
    assert "trueup keys new" in ended.err
    assert project.files() == before
    assert "secrets rotate" not in project.trueup("secrets", "rotate").expect(1).out


def test_the_audit_trail_tells_of_secrets_and_keys_by_name(tmp_path):
    project = project_in(tmp_path)
    project.trueup("keys", "new").expect(0)
    keep(project, "CRM_URL", f"postgresql://u:{MARKER}@h/d").expect(0)
    project.trueup("keys", "rotate").expect(0)
    project.trueup("keys", "encrypt").expect(0)
    lines = project.trueup("audit", "--json").expect(0).out
    assert all(word in lines for word in ("secrets set", "CRM_URL", "keys rotate", "keys encrypt"))
    assert MARKER not in lines


def test_what_the_configuration_uses_is_not_removed(tmp_path):
    project = project_in(tmp_path)
    project.trueup("keys", "new").expect(0)
    for name in ("CRM_URL", "OLD"):
        keep(project, name, "x").expect(0)
    assert "systems.crm.url" in project.trueup("secrets", "remove", "CRM_URL").expect(2).err
    project.trueup("secrets", "remove", "OLD").expect(0)
    assert [row["name"] for row in project.trueup("secrets", "--json").expect(0).json] == ["CRM_URL"]
    assert "there is no secret OLD" in project.trueup("secrets", "remove", "OLD").expect(2).err


# ---------------------------------------------------------------- keys


def test_a_master_key_from_the_environment_is_rotated_by_putting_a_new_one_first(tmp_path):
    project = project_in(tmp_path)
    project.write("trueup.yaml", CONFIG.replace("master_key: {file: keys/master.key}\n", ""))
    old = project.trueup("keys", "new").expect(0)
    assert "put this into the environment variable TRUEUP_MASTER_KEY" in old.err
    first, second = old.out.strip(), project.trueup("keys", "new", "--print").expect(0).out.strip()
    keep(project, "CRM_URL", "x", TRUEUP_MASTER_KEY=first).expect(0)
    assert "Nothing to do" in project.trueup("keys", "rotate", TRUEUP_MASTER_KEY=first).expect(0).out
    assert "MISSING" in project.trueup("keys", TRUEUP_MASTER_KEY=second).expect(3).out
    assert "sealed under the master key" in project.trueup("keys", "rotate", TRUEUP_MASTER_KEY=second).expect(1).err
    rotated = project.trueup("keys", "rotate", "--json", TRUEUP_MASTER_KEY=f"{second} {first}").expect(0).json
    assert rotated["sealed"] == 1
    assert [row["opens"] for row in project.trueup("secrets", "--json", TRUEUP_MASTER_KEY=second).expect(0).json] == [True]


def test_a_master_key_from_a_command(tmp_path):
    project = project_in(tmp_path)
    words = json.dumps([sys.executable, "-c", "print(open('sealed.txt').read())"])
    project.write("trueup.yaml", CONFIG.replace("{file: keys/master.key}", f"{{command: {words}}}"))
    project.write("sealed.txt", new_key().text)
    keep(project, "CRM_URL", "postgresql://127.0.0.1:1/x").expect(0)
    assert "does not answer" in project.trueup("plan").err
    (tmp_path / "sealed.txt").unlink()
    assert "ended with status 1" in project.trueup("plan").expect(1).err


def test_a_rotation_that_was_interrupted_is_finished_by_the_next(tmp_path):
    project = project_in(tmp_path)
    project.trueup("keys", "new").expect(0)
    keep(project, "CRM_URL", "x").expect(0)
    held = tmp_path / "keys" / "master.key"
    held.write_text(f"{new_key().text}\n{held.read_text()}")  # as a kill between the two steps leaves it
    done = project.trueup("keys", "rotate", "--json").expect(0).json
    assert (done["sealed"], len(done["former"])) == (1, 1)
    assert len(held.read_text().splitlines()) <= 6
    project.trueup("keys", "forget", done["former"][0]).expect(0)
    assert [row["opens"] for row in project.trueup("secrets", "--json").expect(0).json] == [True]
    assert "in use" in project.trueup("keys", "forget", done["id"]).expect(1).err
