"""Records that are made one: in a state on PostgreSQL, when the process is killed, and when somebody edits a duplicate afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

import trueup
from tests.system.cli.test_dedupe import CONFIG, contacts, project_in
from tests.system.cli.tool import Project, environment
from tests.system.kills import killed_at_each_step
from trueup.runtime import unite


@pytest.mark.slow
def test_in_a_state_on_postgresql_to_the_undo(tmp_path, postgres_url):
    project = project_in(tmp_path, f'state: "{postgres_url}"\n{CONFIG}')
    before = contacts(project)
    done = project.trueup("dedupe", "customer", "--apply", "--json").expect(0).json
    assert (done["united"], done["doubles"], done["asked"]) == (3, 1, 1)
    project.trueup("sync").expect(0)
    rows = {row[0]: row for row in contacts(project)}
    assert rows.keys() == {1, 2, 3, 4, 5}
    assert rows[1][5] == 9
    assert project.trueup("dedupe", "customer", "--json").expect(0).json["groups"] == []
    undone = project.trueup("undo", str(done["run"]), "--json").expect(0).json["undo"]
    assert (undone["records"], undone["refused"]) == (3, [])
    project.trueup("sync").expect(0)
    assert contacts(project)[:2] == before[:2]
    project.trueup("verify").expect(0)
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []


@pytest.mark.slow
def test_an_edit_of_a_parked_duplicate_changes_nobody_and_is_not_forgotten(tmp_path):
    """It is nobody's row any more: what is said there waits with it, until a person says whose it is."""
    project = project_in(tmp_path)
    run = project.trueup("dedupe", "customer", "--apply", "--json").expect(0).json["run"]
    project.trueup("sync").expect(0)
    project.sql("UPDATE contacts SET name = 'Ada Edited', phone = '+44 20 7946 0199' WHERE id = 2")
    project.trueup("sync").expect(0)
    rows = {row[0]: row for row in contacts(project)}
    assert rows[1][1] == "Ada O'Hara"
    assert rows[2][1] == "Ada Edited"
    assert "crm:2" in {f"{item['system']}:{item['key']}" for item in project.trueup("matches", "--json").expect(0).json}
    assert project.trueup("verify", "--json").expect(0).json["entities"]["customer"]["systems"]["crm"]["waiting"] >= 1
    project.trueup("undo", str(run)).expect(0)
    project.trueup("sync").expect(0)
    told = project.trueup("record", "customer", "crm:2", "--json").expect(0).json
    assert told["golden"]["name"] == "Ada Edited", "an edit of its own record again"
    assert contacts(project)[1][1] == "Ada Edited"
    project.trueup("verify").expect(0)


KILLED = """
import json, sys
from pathlib import Path
from tests.system.cli.test_dedupe_states import killed

print("killed", killed(Path(sys.argv[1]), json.loads(sys.argv[2])))
"""


def killed(template: Path, groups: Sequence[Sequence[int]]) -> int:
    """How often it was killed while records were made one, and completed afterwards."""
    return killed_at_each_step(template, partial(_unite, groups), partial(_goes_on, groups), every=15)


def _unite(groups: Sequence[Sequence[int]], folder: Path) -> None:
    """What `--apply` does once the groups are known, a transaction for each group."""
    unite.GROUPS_AT_ONCE = 1
    with trueup.open(folder / "trueup.yaml") as workspace, workspace.lock("dedupe"):
        entity = workspace.config.entities["customer"]
        number = workspace.begin_run("dedupe customer --apply", ["customer"])
        unite.unite_records(
            workspace.store, workspace.config, entity, [(group, "test") for group in groups], run=number, now=workspace.clock()
        )


def _goes_on(groups: Sequence[Sequence[int]], folder: Path) -> None:
    """Whatever was done by then: done again it is whole, every system agrees, and an undo of nothing is left."""
    _unite(groups, folder)
    project = Project(folder)
    assert project.trueup("sync").status in {0, 3}
    project.trueup("verify").expect(0)
    rows = {row[0]: row for row in contacts(project)}
    assert rows.keys() == {1, 2, 3, 4, 5} | rows.keys(), "nothing was lost"
    assert rows[1][5] == 9
    assert (
        project.trueup("record", "customer", "sheet:001", "--json").json["id"]
        == project.trueup("record", "customer", "crm:3", "--json").json["id"]
    )
    project.trueup("sync").expect(0)
    assert project.trueup("plan", "--json").expect(0).json["changes"] == []


@pytest.mark.slow
def test_killed_at_any_step_it_is_completed_by_the_next(tmp_path):
    template = tmp_path / "template"
    template.mkdir()
    project = project_in(template)
    project.trueup("sync", "--limit", "0").expect(0)
    known = {row: int(project.trueup("record", "customer", row, "--json").json["id"]) for row in ("crm:1", "crm:2", "crm:3", "sheet:001")}
    groups = [[known["crm:1"], known["crm:2"]], [known["crm:3"], known["sheet:001"]]]
    # In a process of its own, which has one thread: this one's may hold what a fork would wait for in vain.
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(template), json.dumps(groups)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 1
