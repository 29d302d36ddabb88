"""What the documentation says is so: its examples run, its links lead somewhere, and nothing that users can type or write is left out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts import generate, reference_pages
from tests.docs.pages import ROOT, blocks, differences, is_runnable, settled, update

GUIDES = sorted((ROOT / "docs").glob("*.md"))
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES, *sorted((ROOT / "docs" / "reference").glob("*.md")), *EXAMPLES]
RUNNABLE = [page for page in PAGES if is_runnable(page)]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _guides_text() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *GUIDES))


LONG = {
    "source-of-truth.md",
    "operations.md",
    "deletes-and-guards.md",
    "notices.md",
    "conflicts-and-rules.md",
    "monitoring.md",
    "audit.md",
    "reports.md",
    "runbooks.md",
    "security.md",
    "packages.md",
    "access.md",
    "connectors.md",
    "matching.md",
    "rehearsing.md",
    "webhooks.md",
}


QUICK = {
    "one-way-csv-to-sqlite",
    "two-way-crm-and-sheet",
    "excel-price-list",
}


def _case(page: Path) -> Any:
    """A page as a case of a test: those with many commands, or with a server, are among the slow ones."""
    slow = page.name in LONG or (page in EXAMPLES and page.parent.name not in QUICK)
    return pytest.param(page, id=_name(page), marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("page", [_case(page) for page in RUNNABLE if page.name != "scaling.md"])
def test_a_page_runs_and_prints_what_it_says(page, tmp_path):
    assert "\n".join(differences(page, tmp_path)) == ""


@pytest.mark.slow
def test_the_page_about_several_machines_runs(tmp_path, postgres_url, monkeypatch):
    monkeypatch.setenv("COMPANY_DATABASE", postgres_url)
    page = ROOT / "docs" / "scaling.md"
    assert "\n".join(differences(page, tmp_path)) == ""


def test_the_pages_that_promise_to_run_do():
    must = {"README.md", "docs/getting-started.md", "docs/conflicts-and-rules.md", "docs/deletes-and-guards.md", "docs/files-and-excel.md"}
    assert must | {_name(page) for page in EXAMPLES} <= {_name(page) for page in RUNNABLE}
    assert len(EXAMPLES) >= 6


# --- links ------------------------------------------------------------------------------------------------------------------------------


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", _without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def _without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _broken(page: Path) -> Iterator[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", _without_code(page))
    for target in (one or other for one, other in targets):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_within_the_project_lead_somewhere(page):
    assert list(_broken(page)) == []


def test_every_guide_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in GUIDES if f"(docs/{page.name})" not in readme] == []


# --- nothing is left out ------------------------------------------------------------------------------------------------------------------


def _commands(command: Any, path: str) -> Iterator[str]:
    below = getattr(command, "commands", {})
    yield path
    for name, inner in below.items():
        if not inner.hidden:
            yield from _commands(inner, f"{path} {name}")


def test_every_command_is_in_a_guide():
    import typer

    from trueup.cli.main import app

    text = _guides_text()
    names = list(_commands(typer.main.get_command(app), "trueup"))
    assert len(names) > 10
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_every_command_that_a_page_names_exists():
    import typer

    from trueup.cli.main import app

    known = typer.main.get_command(app).commands.keys()  # type: ignore[attr-defined]
    named = {name for page in PAGES for name in re.findall(r"(?:`|\$ )trueup ([a-z]+)", page.read_text(encoding="utf-8"))}
    assert named - known == set()


def _keys(part: Mapping[str, Any]) -> Iterator[str]:
    for definition in (part, *part.get("$defs", {}).values()):
        yield from reference_pages.properties(definition)


def test_every_key_of_the_configuration_is_in_its_guide():
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    keys = set(_keys(reference_pages.schema()))
    assert len(keys) > 50
    assert sorted(key for key in keys if not re.search(rf"\b{re.escape(key)}\b", text)) == []


def test_every_conflict_rule_has_its_worked_example():
    text = (ROOT / "docs" / "conflicts-and-rules.md").read_text(encoding="utf-8")
    from trueup.config.forms import MERGES, PLAIN_RULES

    assert [name for name in (*MERGES, *PLAIN_RULES, "source_of_truth", "rule", "hold_if") if f"## `{name}`" not in text] == []


def test_generated_pages_are_what_the_code_says():
    assert [page.path for page in generate.due() if generate.stale(page)] == []


# --- the machine that runs the pages ------------------------------------------------------------------------------------------------------


def _page(folder: Path, *lines: str) -> Path:
    page = folder / "page.md"
    page.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return page


def test_a_page_that_says_something_wrong_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    page = _page(tmp_path, "```text file=a.txt", "one", "```", "```console run", "$ cat a.txt", "two", "```")
    (found,) = differences(page, tmp_path)
    assert found == "page.md:5: $ cat a.txt\nprints\none\n"


def test_an_exit_status_must_be_said(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    assert len(differences(_page(tmp_path, "```console run", "$ exit 3", "```"), tmp_path)) == 1


def test_an_exit_status_that_is_said_is_right(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    assert differences(_page(tmp_path, "```console run", "$ echo no; exit 3", "no", "(exit status 3)", "```"), tmp_path) == []


def test_what_a_page_prints_now_is_written_into_it(tmp_path):
    page = _page(tmp_path, "```console run", "$ echo new", "old", "", "$ echo quiet", "```")
    update(page)
    assert page.read_text(encoding="utf-8").splitlines()[1:5] == ["$ echo new", "new", "", "$ echo quiet"]


def test_a_page_that_is_right_keeps_its_times(tmp_path):
    page = _page(tmp_path, "```console run", "$ echo at 2031-01-01T00:00:00Z", "at 2030-01-01T00:00:00Z", "```")
    before = page.read_text(encoding="utf-8")
    update(page)
    assert page.read_text(encoding="utf-8") == before


def test_pages_with_the_same_port_run_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    page = _page(
        tmp_path, "```text file=a.txt", "http://127.0.0.1:8461/", "```", "```console run", "$ cat a.txt", "http://127.0.0.1:8461/", "```"
    )
    assert differences(page, tmp_path) == []
    assert "8461" not in (tmp_path / "work1" / "a.txt").read_text(encoding="utf-8")


def test_a_process_that_a_broken_page_leaves_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    page = _page(tmp_path, "```console run", "$ sleep 600 > /dev/null 2>&1 & echo $! > one.pid", "$ false", "```")
    assert len(differences(page, tmp_path)) == 1
    number = int((tmp_path / "work1" / "one.pid").read_text(encoding="utf-8"))
    end = time.monotonic() + 30
    while Path(f"/proc/{number}/cwd").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_mark_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match="neither"):
        list(blocks("```yaml flie=trueup.yaml\n```\n"))


def test_times_durations_and_gaps_may_differ_and_nothing_else():
    assert settled(["at 2026-01-02T03:04:05Z in   0.9 s", ""]) == settled(["at 2030-11-12 13:14:15Z in  12 s"])
    assert settled(["3 rows"]) != settled(["4 rows"])
