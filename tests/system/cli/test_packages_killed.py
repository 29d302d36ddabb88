"""An export and an import, killed at each fifth of their steps: nothing is half-done, and the next one ends as if nothing had been."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KILLED = """
    import contextlib, io, json, os, shutil, sys, tempfile
    from pathlib import Path
    from tests.stories.test_packages import FIRST, HEADER, OFFICE, SALES
    from tests.system.kills import killed_at_each_step
    from trueup.cli.main import main
    from trueup.exchange.checking import check_package, checked_rows
    from trueup.exchange.naming import package_name

    def trueup(folder, *words, expect=0):
        os.chdir(folder)
        sys.argv = ["trueup", *words]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main()
        assert expect is None or status == expect, (words, status, out.getvalue(), err.getvalue())
        return out.getvalue()

    def export(folder):
        trueup(folder, "-c", "sales.yaml", "export", "invoice", "--json")

    def come(folder, *words):
        return json.loads(trueup(folder, "-c", "office.yaml", "import", "place", "--json"))[0]["packages"]

    def whole(folder):
        there = [name for path in (folder / "place").iterdir() if (name := package_name(path.name)) and not name.answer]
        for name in there:
            statement = check_package(folder / "place" / str(name), name)
            for one in statement.resources:
                list(checked_rows(folder / "place" / str(name), statement, one))
        return sorted(one.number for one in there)

    def ledger(folder):
        file = folder / "ledger.csv"
        return sorted(file.read_text(encoding="utf-8").splitlines()[1:]) if file.exists() else []

    def sent(folder):
        before = whole(folder)
        assert before in ([1], [1, 2]), before
        export(folder)
        after = whole(folder)
        assert after == [*before, before[-1] + 1], after
        assert [one["status"] for one in come(folder)] == ["accepted"] * len(after)
        assert ledger(folder) == sorted(FIRST)

    def taken(folder):
        file = folder / "received" / "invoice.jsonl"
        assert not file.exists() or file.read_bytes().count(b"\\n") == 3
        assert ledger(folder) in ([], sorted(FIRST))
        assert [one["status"] for one in come(folder)] in ([], ["accepted"])
        assert ledger(folder) == sorted(FIRST)
        said = json.loads((folder / "place" / "invoice-000001-ack" / "datapackage.json").read_text())["trueup"]
        assert (said["status"], said["rows"], said["waiting"]) == ("accepted", 3, 0)
        assert come(folder) == []
        assert file.read_bytes().count(b"\\n") == 3
        golden = trueup(folder, "-c", "office.yaml", "sql", "SELECT count(*) AS n FROM invoice", "--json")
        assert json.loads(golden) == [{"n": 3}]

    folder = Path(sys.argv[1], "work")
    (folder / "place").mkdir(parents=True)
    (folder / "sales.yaml").write_text(SALES % "")
    (folder / "office.yaml").write_text(OFFICE % "")
    (folder / "shop.csv").write_text(HEADER + "".join(row + "\\n" for row in FIRST), encoding="utf-8")
    if os.fork() == 0:  # Polars starts threads when it is used; whoever forks must have none
        trueup(folder, "-c", "sales.yaml", "sync")
        export(folder)
        os._exit(0)
    assert os.wait()[1] == 0
    work, look = (export, sent) if sys.argv[2] == "export" else (come, taken)
    print("killed", killed_at_each_step(folder, work, look, every=5))
"""


@pytest.mark.parametrize("what", ["export", "import"])
@pytest.mark.slow
def test_killed_at_any_step(tmp_path, what):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), what],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert int(done.stdout.split()[-1]) > 8
