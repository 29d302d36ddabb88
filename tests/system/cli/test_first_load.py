"""What a first load keeps of every row while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system.cli.tool import TABLE, Project
from trueup.runtime import run_pass
from trueup.runtime.chunks import Page
from trueup.runtime.workspace import open_workspace

ROWS = 3_000
CONFIG = """\
systems:
  crm:  {connector: sqlite, path: crm.db}
  shop: {connector: sqlite, path: shop.db}
entities:
  customer:
    match: [[email]]
    fields: {name: {type: text}, email: {type: text}}
    mappings:
      crm:  {object: contacts, key: id, fields: {name: name, email: email}}
      shop: {object: contacts, key: id, fields: {name: name, email: email}}
"""


@pytest.mark.parametrize("order", ["id", "id DESC", "id % 7"])
def test_of_a_row_that_waits_for_its_turn_two_numbers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    project = Project(tmp_path)
    project.sql(TABLE, database="shop.db")
    project.sql(TABLE.replace("INTEGER", "INT"))  # rows then come as they were put in
    project.sql(
        "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?)"
        f" INSERT INTO contacts (id, name, email) SELECT id, 'n' || id, id || '@example.org' FROM n ORDER BY {order}",
        (ROWS,),
    )
    project.write("trueup.yaml", CONFIG)
    pages: list[Page] = []
    sizes: list[float] = []

    def kept(*given: Any, **named: Any) -> Page:
        pages.append(Page(*given, **named))
        sizes.append(pages[-1].links.estimated_size())
        return pages[-1]

    monkeypatch.setattr(run_pass, "Page", kept)
    with open_workspace(tmp_path / "trueup.yaml") as workspace:
        summary = workspace.sync().entities["customer"]
    assert (summary.created, summary.systems["shop"].delivered.created) == (ROWS, ROWS)
    assert sum(page.links.height for page in pages) == ROWS
    assert sum(sizes) <= 13 * ROWS
    keys = project.sql("SELECT key FROM links WHERE system = 'crm' ORDER BY record", database=".trueup/state.db")
    assert keys == [(str(number),) for number in range(1, ROWS + 1)], "records are numbered by key"
    found = project.sql("SELECT count(DISTINCT name) FROM contacts WHERE name || '@example.org' = 'n' || email", database="shop.db")
    assert found == [(ROWS,)]
