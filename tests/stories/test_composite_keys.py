"""Rows that several columns identify together are matched, made and edited like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.cli.tool import Project

CONFIG = """\
systems:
  shop: {connector: sqlite, path: shop.db}
  file: {connector: csv, path: lines.csv}
entities:
  line:
    match: [[order, line]]
    precedence: [shop, file]
    fields:
      order: {type: text}
      line:  {type: integer}
      sku:   {conflict: last_write_wins}
    mappings:
      shop: {object: lines, key: [order_no, line_no], fields: {order: order_no, line: line_no, sku: sku}}
      file: {key: KEY, fields: {order: Order, line: Line, sku: Article}}
"""


@pytest.mark.parametrize("key", ["[Order, Line]", "{column: [Order, Line], assign: [order, line]}"])
def test_new_rows_get_their_keys_from_the_fields(tmp_path: Path, key: str) -> None:
    project = Project(tmp_path)
    project.write("trueup.yaml", CONFIG.replace("KEY", key))
    project.write("lines.csv", "Order,Line,Article\nA|1,1,hammer\nA|1,3,saw\n")
    project.sql("CREATE TABLE lines (order_no TEXT, line_no INT, sku TEXT, PRIMARY KEY (order_no, line_no))", database="shop.db")
    project.sql("INSERT INTO lines VALUES ('A|1', 1, 'hammer'), ('A|1', 2, 'nail')", database="shop.db")
    project.trueup("sync").expect(0)
    assert project.read("lines.csv") == "Order,Line,Article\nA|1,1,hammer\nA|1,3,saw\nA|1,2,nail\n"
    everything = "SELECT * FROM lines ORDER BY line_no"
    assert project.sql(everything, database="shop.db") == [("A|1", 1, "hammer"), ("A|1", 2, "nail"), ("A|1", 3, "saw")]
    project.write("lines.csv", project.read("lines.csv").replace("nail", "screw"))
    project.trueup("sync").expect(0)
    assert project.sql(everything, database="shop.db")[1] == ("A|1", 2, "screw")
    quiet = project.trueup("sync", "--json").expect(0).json["entities"]["line"]["systems"]
    assert not any(count for system in quiet.values() for count in system["delivered"].values())
