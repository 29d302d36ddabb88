"""Writes the pages of docs/reference that say what the code says: `make generate`; `--check` only compares.

A page whose module is not part of this tree is left out; once the page exists, its module must too.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import reference_pages  # noqa: E402 -- found through the line above when run as a program
from trueup.store.engine import create_sqlite, sqlite_engine  # noqa: E402
from trueup.store.fresh import written  # noqa: E402
from trueup.store.migrate import upgrade  # noqa: E402

NOTE = "<!-- Written by `make generate` from {source}; do not edit. -->\n\n"
DIFFERENCE_LINES = 20


@dataclass(frozen=True)
class Page:
    """A generated file: where it lies, which module it tells of, what makes its text, and what else that needs."""

    path: str
    source: str
    text: Callable[[], str]
    needs: tuple[str, ...] = ()

    def content(self) -> str:
        """The whole file."""
        return self.text() if self.path.endswith((".json", ".sql")) else NOTE.format(source=self.source) + self.text()


def _schema() -> str:
    return json.dumps(reference_pages.schema(), indent=2, ensure_ascii=False) + "\n"


def _fresh_state() -> str:
    """The tables of a new state, as the migrations make them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        create_sqlite(path, create=True, shown_as="a new state")
        pool = sqlite_engine(path, writer=True, read_only=False)
        with pool.connect() as connection, connection.begin():
            upgrade(connection)
            text = written(connection)
        pool.dispose()
    return text


PAGES = (
    Page("src/trueup/store/fresh.sql", "trueup.store.migrate", _fresh_state),
    Page("docs/reference/commands.md", "trueup.cli.main", reference_pages.commands),
    Page("docs/reference/configuration.md", "trueup.config.schema", reference_pages.configuration),
    Page("docs/reference/trueup.schema.json", "trueup.config.schema", _schema),
    Page("docs/reference/presets.md", "trueup.connectors.presets", reference_pages.presets),
    Page("docs/reference/monitoring.md", "trueup.reports.metrics", reference_pages.monitoring),
    Page(
        "docs/reference/connectors.md",
        "trueup.connectors.registry",
        reference_pages.connectors,
        needs=tuple(f"trueup.connectors.{name}" for name in reference_pages.SHIPPED),
    ),
)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def due(root: Path = ROOT) -> list[Page]:
    """The pages that must be there."""
    return [page for page in PAGES if all(map(_exists, (page.source, *page.needs))) or (root / page.path).exists()]


def stale(page: Page, root: Path = ROOT) -> str | None:
    """What differs between the file and what it should be, as a short diff; None where nothing does."""
    file = root / page.path
    present = file.read_text(encoding="utf-8") if file.exists() else ""
    wanted = page.content()
    if present == wanted:
        return None
    lines = difflib.unified_diff(present.splitlines(), wanted.splitlines(), page.path, "what the code says", lineterm="", n=1)
    return "\n".join(list(lines)[:DIFFERENCE_LINES])


def main() -> None:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description="Write the pages that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; end with status 1 where a page is stale")
    options = parser.parse_args()
    differences = {page: difference for page in due() if (difference := stale(page)) is not None}
    if options.check:
        if differences:
            sys.exit("\n".join([*differences.values(), "", "generated pages are stale: run `make generate`"]))
        return
    for page in differences:
        file = ROOT / page.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page.content(), encoding="utf-8")
        print(page.path)


if __name__ == "__main__":
    main()
