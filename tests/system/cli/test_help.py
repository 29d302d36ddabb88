"""`--help` is quick and complete; wrong usage is told as such."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.system.cli.tool import Project, environment
from trueup import __version__

COMMANDS = [
    "decide", "profile", "init", "connect", "grants", "drift", "dedupe", "check", "plan", "rehearse", "sync", "serve", "worker", "pause",
    "resume",
    "status", "report", "runs", "run", "record", "explain", "conflicts", "matches", "failures", "holds", "notices", "alerts", "manual",
    "runbook", "verify", "undo", "migrate", "lock", "export", "import", "packages", "audit", "backup", "restore", "rebuild", "compact",
    "doctor", "sql", "secrets", "keys", "users", "connector", "schema",
]  # fmt: skip
HEAVY = [
    "apprise",
    "polars",
    "prometheus_client",
    "sqlalchemy",
    "pydantic",
    "pydantic_core",
    "rich",
    "ruamel",
    "orjson",
    "sqlite3",
    "cryptography",
    "sqlcipher3",
    "keyring",
]
PYDANTIC = {"pydantic", "pydantic_core"}

LOADED = """
import sys
sys.argv = ["trueup", *{args!r}]
from trueup.cli.main import main
status = main()
print("loaded:", *sorted(set(sys.modules) & set({heavy!r})))
sys.exit(status)
"""


# The help of one command may load pydantic: typer itself does, to describe the command's options.
@pytest.mark.parametrize(
    ("args", "loaded"),
    [(["--help"], set()), (["--version"], set()), (["sync", "--help"], PYDANTIC), (["failures", "retry", "--help"], PYDANTIC)],
)
def test_help_loads_nothing_heavy(args, loaded):
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(args=args, heavy=HEAVY)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()[-1].split()[1:]) <= loaded
    assert "loaded:" in done.stdout


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, trueup; trueup.open; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_lists_the_commands_that_exist_and_no_others(tmp_path):
    told = Project(tmp_path).trueup("--help").expect(0).out
    listed = told.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed if line.startswith("  ") and not line.startswith("   ")] == COMMANDS
    assert "Exit status: 0 done" in told
    assert "--install-completion" in told


def test_version(tmp_path):
    assert Project(tmp_path).trueup("--version").expect(0).out == f"trueup {__version__}\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["sync", "--frob"], "No such option: --frob"),
        (["sync", "--limit", "-1"], "--limit"),
        (["sync", "--limit", "many"], "valid integer"),
        (["run"], "Missing argument"),
        (["run", "first"], "valid integer"),
        (["pause"], "say what to pause"),
        (["pause", "crm", "--all"], "not both"),
        (["sql"], "Missing argument"),
    ],
)
def test_wrong_usage_is_status_2(tmp_path, args, said):
    ended = Project(tmp_path).trueup(*args).expect(2)
    assert said in ended.err
    assert ended.out == ""


def test_no_command_shows_the_help(tmp_path):
    ended = Project(tmp_path).trueup()
    assert "Commands:" in ended.out + ended.err
    assert ended.status in {0, 2}


def test_the_schema_is_printed_without_a_configuration(tmp_path):
    schema = Project(tmp_path).trueup("schema").expect(0).json
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"systems", "entities"} <= schema["properties"].keys()
