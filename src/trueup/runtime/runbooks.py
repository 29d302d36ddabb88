"""Runbooks: which pages a configuration asks for, what each was made from, and which of those in a folder are out of date."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from trueup.reports import runbook_words as words
from trueup.reports.runbook_page import runbook_page
from trueup.reports.table import visible
from trueup.runtime.schedule import is_realtime
from trueup.yamlfile import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trueup.model import Config

Kind = Literal["by-hand", "ownership", "events", "incidents"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FORM = 1
"""Goes up where the texts themselves change: pages of an older form are out of date then."""
MARK = "trueup runbook"
_MARKED = re.compile(rf"<!-- {MARK} ([a-z0-9-]+) ([0-9a-f]{{16}})")
_NAMED = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Runbook:
    """One page: `name` is its file's without ending, `parts` the paths of the configuration that it was made from, `digest` theirs."""

    kind: Kind
    name: str
    title: str
    text: str
    parts: tuple[str, ...]
    digest: str

    @property
    def footer(self) -> str:
        """What it was made from, for people."""
        return f"Written by `{MARK}` from {', '.join(self.parts)}; what is changed here by hand is written over. Digest {self.digest}."

    @property
    def markdown(self) -> str:
        """The file, with a mark by which `check` knows what it was made from."""
        return f"{self.text}\n<!-- {MARK} {self.name} {self.digest} -->\n"

    @property
    def html(self) -> str:
        """The page."""
        return runbook_page(self.title, self.text, self.footer)

    @property
    def files(self) -> dict[str, str]:
        """Name -> content."""
        return {f"{self.name}.md": self.markdown, f"{self.name}.html": self.html}


def runbooks(config: Config, kinds: Sequence[Kind] = KINDS) -> list[Runbook]:
    """The pages that this configuration asks for, of these kinds. Raises ConfigError where the file cannot be read any more."""
    made = _Maker(config)
    writers: dict[Kind, Callable[[], Iterator[Runbook]]] = {
        "by-hand": made.by_hand,
        "ownership": made.ownership,
        "events": made.events,
        "incidents": made.incidents,
    }
    return [page for kind in KINDS if kind in kinds for page in writers[kind]()]


class _Maker:
    """Writes the pages of one configuration, each under a file name of its own."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._names: set[str] = set()

    def by_hand(self) -> Iterator[Runbook]:
        for name, process in self._config.manual.items():
            yield self._page("by-hand", name, f"{name}: by hand", words.by_hand(process), (f"manual.{name}",))

    def ownership(self) -> Iterator[Runbook]:
        for name, entity in self._config.entities.items():
            if any(field.source_of_truth is not None for field in entity.fields.values()):
                title = f"{name}: who changes what, and where"
                parts = (f"entities.{name}", *_owners(self._config))
                yield self._page("ownership", name, title, words.ownership(entity, self._config), parts)

    def events(self) -> Iterator[Runbook]:
        for name, entity in self._config.entities.items():
            if is_realtime(entity):
                parts = (f"entities.{name}", *(f"systems.{system}" for system in entity.mappings))
                yield self._page("events", name, f"{name}: events", words.events(entity, self._config), parts)

    def incidents(self) -> Iterator[Runbook]:
        config = self._config
        for name, system in config.systems.items():
            entities = [f"entities.{entity.name}" for entity in config.entities.values() if name in entity.mappings]
            yield self._page("incidents", f"{name} stops", f"{name} stops", words.stopped(system, config), (f"systems.{name}", *entities))
        if config.systems:
            secrets = secrets_of(config)
            text = words.compromised(config, secrets)
            parts = ("systems", "notices", *(f"entities.{name}.owner" for name in config.entities))
            yield self._page("incidents", "account compromised", "An account is compromised", text, parts, names=secrets)

    def _page(
        self,
        kind: Kind,
        name: str,
        title: str,
        lines: Iterator[str],
        parts: tuple[str, ...],
        *,
        names: Mapping[str, Sequence[str]] | None = None,
    ) -> Runbook:
        text = "\n".join(lines)
        return Runbook(kind, self._file(kind, name), visible(title), text, parts, digest_of(self._config, parts, names or {}))

    def _file(self, kind: Kind, name: str) -> str:
        """A name for files of every system: Latin letters, digits and dashes, and where that says too little, a few digits of a hash."""
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        word = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40]
        found = f"{kind.removesuffix('s')}-{word}" if word else f"{kind.removesuffix('s')}-{_short(name)}"
        if found in self._names:
            found = f"{found}-{_short(name)}"
        self._names.add(found)
        return found


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:6]


def _owners(config: Config) -> Iterator[str]:
    yield from (f"systems.{name}.owner" for name in config.systems)


def digest_of(config: Config, parts: Sequence[str], names: Mapping[str, Sequence[str]]) -> str:
    """One digest of what the configuration says under these paths, secrets left out (`config/digests.py`), and of secrets' names."""
    mine = {path: digest for path, digest in config.digests.items() if any(path == part or path.startswith(f"{part}.") for part in parts)}
    text = json.dumps([FORM, sorted(parts), sorted(mine.items()), sorted(names.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def secrets_of(config: Config) -> dict[str, list[str]]:
    """Per system the names of variables and secrets in its settings, as they are written; no value is looked up."""
    data = read_yaml(config.file).data
    systems = data.get("systems") if isinstance(data, dict) else None
    return {name: sorted(set(_named(settings))) for name, settings in (systems or {}).items()}


def _named(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _named(item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item)
    elif isinstance(value, str):
        yield from (name for name in _NAMED.findall(value) if name not in {"body", "timestamp", "method", "uri", "path"})


def contents(pages: Sequence[Runbook]) -> dict[str, str]:
    """The files of the page that lists the others."""
    listed = {page.name: words.md(page.title) for page in pages}
    text = "\n".join(words.contents(listed))
    return {"index.md": f"{text}\n<!-- {MARK} index {digest_of_names(pages)} -->\n", "index.html": runbook_page("Runbooks", text, "")}


def digest_of_names(pages: Sequence[Runbook]) -> str:
    """What the list of pages is known by."""
    return hashlib.sha256(json.dumps([FORM, [(page.name, page.title) for page in pages]]).encode()).hexdigest()[:16]


# ---------------------------------------------------------------- out of date


@dataclass(frozen=True, slots=True)
class Stale:
    """A page in the folder that does not say what the configuration says: `why` is missing, changed, or of nothing configured any more."""

    name: str
    why: str


def stale(config: Config, folder: str) -> list[Stale]:
    """The pages in a folder that are out of date, and those that are missing. Raises OSError where it cannot be read."""
    wanted = {page.name: page.digest for page in runbooks(config)}
    there = _there(Path(folder), wanted)
    found = []
    for name, digest in wanted.items():
        if name not in there:
            found.append(Stale(name, "it is missing"))
        elif there[name] != digest:
            found.append(Stale(name, "the configuration has changed since it was written"))
    gone = [name for name in there if name not in wanted and name != "index"]
    return [*found, *(Stale(name, "the configuration has nothing of that kind any more") for name in gone)]


def _there(folder: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """Pages of ours in a folder -> their digest; one of which a form lacks or says otherwise has none."""
    found: dict[str, str] = {}
    if not folder.is_dir():
        return found
    for file in sorted(folder.glob("*.md")):
        mark = _MARKED.search(file.read_text(encoding="utf-8", errors="replace"))
        if mark is not None and mark[1] == file.stem:
            page = file.with_suffix(".html")
            fits = file.stem not in wanted or (page.is_file() and mark[2] in page.read_text(encoding="utf-8", errors="replace"))
            found[file.stem] = mark[2] if fits else ""
    return found


def ours(folder: Path) -> set[str]:
    """The names of pages in a folder that were written by `trueup runbook`."""
    return set(_there(folder, {}))
