"""Clocks that are wrong: in a system's `modified` column, and on the machine that trueup runs on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.stories.project import ANN, BEN, CLEO, PEOPLE, Project, Row
from trueup.config.load import load_config
from trueup.runtime.workspace import Workspace


@pytest.fixture
def project(tmp_path: Path, postgres_url: str) -> Project:
    """`shop` dates its edits and is read by cursor; `sheet` has no dates at all."""
    made = Project(tmp_path)
    made.add_postgres(
        "shop", postgres_url, PEOPLE, columns="email text, name text, points int, born date, updated_at timestamptz DEFAULT now()"
    )
    made.add("shop", '{connector: postgres, url: "${SHOP_URL}"}', "object: customers, modified: updated_at")
    made.add_csv("sheet", [ANN])
    made.configure()
    return made


def _edit(url: str, email: str, name: str, ahead_s: float) -> None:
    """An edit that the shop's clock dates so many seconds ahead of the right time."""
    with psycopg.connect(url) as db:
        db.execute(
            "UPDATE customers SET name = %s, updated_at = now() + make_interval(secs => %s) WHERE email = %s", (name, ahead_s, email)
        )


def _named(row: Row, name: str) -> Row:
    return (row[0], name, *row[2:])


DAY_S = 86_400.0


def test_a_system_whose_clock_ran_ahead_and_was_put_right(project: Project, postgres_url: str) -> None:
    """Edits dated in the future are taken, and do not hide those that the mended clock dates before them."""
    project.sync()
    _edit(postgres_url, "ann@example.org", "Anna", 2 * DAY_S)
    project.sync()
    assert _named(ANN, "Anna") in project.rows("sheet")
    _edit(postgres_url, "ben@example.org", "Benno", 0)
    project.sync()
    assert _named(BEN, "Benno") in project.rows("sheet"), "an edit before the cursor's time"
    _edit(postgres_url, "ann@example.org", "Ann B", 0)
    project.mended([_named(ANN, "Ann B"), _named(BEN, "Benno"), CLEO])


def test_a_system_whose_clock_is_behind(project: Project, postgres_url: str) -> None:
    """An edit dated before the last reading is found by the next complete one; nothing is turned back meanwhile."""
    project.sync()
    _edit(postgres_url, "ann@example.org", "Anna", -DAY_S)
    project.sync()
    project.sync("--full")
    project.mended([_named(ANN, "Anna"), BEN, CLEO])
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE customers SET updated_at = NULL")
        db.execute("UPDATE customers SET updated_at = 'infinity', name = 'Benno' WHERE email = 'ben@example.org'")
    project.sync("--full", expect={0, 3})
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE customers SET updated_at = now()")
    project.sync("--full", expect={0, 3})
    project.mended([_named(ANN, "Anna"), _named(BEN, "Benno"), CLEO])


def test_the_machine_was_set_to_next_month_for_a_while(project: Project, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was recorded under a wrong time stops nothing once the clock is right again: readings, retries and later edits go on."""
    project.sync()
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    wrong = Workspace(load_config(project.folder / "trueup.yaml"), clock=lambda: datetime.now(UTC) + timedelta(days=30))
    with wrong:
        project.write_csv("sheet", [_named(ANN, "Anna"), BEN, CLEO])
        assert wrong.sync().status == "done"
    _edit(postgres_url, "ann@example.org", "Ann B", 0)
    # Dated so early, only a complete reading finds it: that one must not wait for next month.
    _edit(postgres_url, "ben@example.org", "Benno", -9 * DAY_S)
    project.mended([_named(ANN, "Ann B"), _named(BEN, "Benno"), CLEO])
    assert project.run("status", "--json").body
