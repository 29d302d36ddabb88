"""The configuration gets a field more, on the state that is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.stories.test_another_record import Office
from trueup.model import Field
from trueup.runtime.workspace import Workspace


def test_a_new_field_is_no_trouble_for_the_views_of_the_state(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.worlds["shop"].tables["people"].insert({"id": 1, "code": "A", "name": "Ada"})
    first = office.workspace
    with first:
        first.sync()
    entity = first.config.entities["customer"]
    wider = replace(entity, fields={**entity.fields, "note": Field(name="note")})
    config = replace(first.config, entities={"customer": wider})
    for _process in range(2):
        with Workspace(config, connectors=office.connectors) as later:
            assert later.sync().status == "done"
