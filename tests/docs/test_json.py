"""The page on JSON shows the parts that the commands really print."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.docs.json_company import COMMANDS, SAID, busy_company, documented, shape

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"


@pytest.mark.slow
def test_every_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    examples = documented(PAGE.read_text(encoding="utf-8"))
    assert tuple(examples) == COMMANDS
    project = busy_company(tmp_path)
    for command, example in examples.items():
        printed = project.trueup(*shlex.split(command), "--json", told=SAID.get(command)).json
        assert shape(printed) == shape(example), f"trueup {command} --json"
