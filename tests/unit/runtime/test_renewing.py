"""A configuration that changes while a worker runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from trueup.config.load import load_config
from trueup.runtime.dispatch.agreement import agreed
from trueup.runtime.dispatch.renewing import Renewing
from trueup.runtime.serving.events import Log

TEXT = """
state: postgresql://state.example/trueup
systems:
  crm: {connector: postgres, url: "postgresql://crm.example/one"}
  till: {connector: postgres, url: "postgresql://till.example/one"}
entities:
  customer:
    match: [[email]]
    fields: {email: text, name: text}
    mappings:
      crm: {object: people, key: id, fields: {email: email, name: name}}
      till: {object: people, key: id, fields: {email: email, name: name}}
"""


class Watched:
    """A file, who looks at it, and what is told."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "trueup.yaml"
        self.file.write_text(TEXT, encoding="utf-8")
        self.config = load_config(self.file)
        self.told = io.StringIO()
        self.renewing = Renewing(self.config, Log(self.told))

    def write(self, old: str, new: str) -> str:
        """Change the file; what a server that has it agrees with."""
        text = self.file.read_text(encoding="utf-8")
        assert old in text
        other = self.file.with_name("next")
        other.write_text(text.replace(old, new), encoding="utf-8")
        other.replace(self.file)
        return agreed(load_config(self.file))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """As it was begun."""
    return Watched(tmp_path)


def test_a_change_is_taken_up_once_the_leading_server_has_it(watched: Watched) -> None:
    before = agreed(watched.config)
    assert watched.renewing.look(before) is None
    after = watched.write("name: text", "name: {type: text, clean: [trim]}")
    assert after != before
    assert watched.renewing.look(before) is None
    assert watched.renewing.look(before) is None
    assert watched.told.getvalue().count("the leading server has other entities") == 1
    assert watched.renewing.look(after) == load_config(watched.file)


def test_where_nobody_leads_it_is_taken_up_at_once(watched: Watched) -> None:
    watched.write("name: text", "name: {type: text, clean: [trim]}")
    assert watched.renewing.look(None) == load_config(watched.file)


def test_an_address_is_taken_up_although_all_agree(watched: Watched) -> None:
    assert watched.write("till.example/one", "till.example/two") == agreed(watched.config)
    fresh = watched.renewing.look(agreed(watched.config))
    assert fresh is not None
    assert fresh.systems["till"].settings["url"] == "postgresql://till.example/two"


def test_a_file_with_a_mistake_changes_nothing_and_is_told_once(watched: Watched) -> None:
    watched.file.write_text(TEXT.replace("match:", "mach:"), encoding="utf-8")
    for _time in range(3):
        assert watched.renewing.look(agreed(watched.config)) is None
    assert watched.told.getvalue().count("stays as it was") == 1
    watched.file.write_text(TEXT + "\n# mended\n", encoding="utf-8")
    assert watched.renewing.look(agreed(watched.config)) is None, "it says what it said before"
    watched.file.unlink()
    assert watched.renewing.look(agreed(watched.config)) is None


def test_another_state_is_not_taken_up(watched: Watched) -> None:
    watched.write("state.example/trueup", "state.example/other")
    assert watched.renewing.look(None) is None
    assert "names another state" in watched.told.getvalue()


def test_who_has_other_entities_than_the_leading_server_says_so(watched: Watched) -> None:
    assert watched.renewing.look("something else") is None
    assert "the leading server has other entities" in watched.told.getvalue()
