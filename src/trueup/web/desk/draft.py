"""A project that admins are putting together in their browsers, before anything of it is saved: one per server, in its memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trueup.errors import UsageError
from trueup.model import KeyPlace
from trueup.reports.drift_page import drift_page
from trueup.runtime.drift import measure_drift
from trueup.runtime.workspace import Workspace
from trueup.setup.addresses import read_address
from trueup.setup.proposal import propose
from trueup.setup.proposed import NOTHING_SHARED, Seen, look_at_one
from trueup.setup.written import as_yaml
from trueup.web.desk.changing import difference, text_of, tried

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trueup.decide.answers import Answers
    from trueup.errors import Problem as Mistake
    from trueup.model import RunSummary
    from trueup.reports.findings import Findings
    from trueup.setup.addresses import Address
    from trueup.setup.proposal import ProposedEntity
    from trueup.store import Store
    from trueup.web.desk.place import Place

HEAD = (
    "# Set up in the browser from what the systems hold. What is changed here by hand counts for `serve` from SIGHUP or its next start on.",
)
KEY_FILE = "keys/master.key"
_SECRET = re.compile(r"\$\{secret:([A-Za-z_][A-Za-z0-9_.-]{0,99})\}", re.ASCII)
NO_SYSTEMS = "connect two systems first"
LONGEST_ROLE = 120


@dataclass(frozen=True, slots=True)
class Preview:
    """What a text would be as the configuration: the lines that differ, what `check` finds, and what `sync` would do.

    `plan` is None where something is wrong that stops a run. `before` is the file that it was compared with.
    """

    before: str
    text: str
    diff: str
    findings: Findings
    plan: RunSummary | None


class Draft:
    """A project that is being put together. Methods block; used by several threads, in turns."""

    def __init__(self, place: Place) -> None:
        """Nothing is known of any system."""
        self._place = place
        self.turn = RLock()
        self.answers: dict[str, Answers] = {}
        self.addresses: list[Address] = []
        self.seen = Seen()
        self.typed: str | None = None
        self.preview: Preview | None = None
        self._entities: list[ProposedEntity] | None = None

    # -------------------------------------------------------------- systems

    def connect(self, name: str, address: str) -> Address:
        """Look at a system, and remember what it holds. Raises UsageError for what is no address, and as `look_at_one`.

        No message holds the address: it may hold a password.
        """
        with self.turn:
            if any(item.name == name.strip() for item in self.addresses):
                raise UsageError(f"`{name.strip()}` is connected already", hint="give each system a name of its own, or remove that one")
            item = read_address(f"{name.strip()}={address.strip()}")
            looked = look_at_one(item, self._place.config.directory)
            self.addresses.append(item)
            self.seen.samples[item.name] = looked.samples
            self.seen.left_out += [line for line in looked.left_out if line not in self.seen.left_out]
            self.seen.clocks[item.name] = looked.clock
            self._anew()
            return item

    def remove(self, name: str) -> str:
        """Forget a system; its name."""
        with self.turn:
            self.addresses = [item for item in self.addresses if item.name != name]
            self.seen.samples.pop(name, None)
            self.seen.clocks.pop(name, None)
            self.seen.left_out = [line for line in self.seen.left_out if not line.startswith(f"{name}: ")]
            self._anew()
            return name

    def seal(self, store: Store, item: Address, now: datetime) -> None:
        """Keep the address of a database sealed in the state; a master key is made where there is none. Raises MasterKeyError."""
        from trueup.sealing import MasterKeys
        from trueup.store.vault import Vault

        if item.url is None:
            return
        keys = MasterKeys(self.key_place())
        if not keys.all():
            Path(self._place.config.directory, KEY_FILE).parent.mkdir(mode=0o700, exist_ok=True)
            keys.add(first=False)
        Vault(store, keys).set_(item.variable, item.url, now)

    def key_place(self) -> KeyPlace:
        """Where the master key is: where the environment says, else in a file beside the configuration."""
        known = self._place.config.master_key
        return known if known.chosen or known.given is not None else KeyPlace("file", str(Path(self._place.config.directory, KEY_FILE)))

    # -------------------------------------------------------------- records and fields

    def answer(self, name: str, answers: Answers) -> str:
        """Take answers to the checklist for a kind of record; its name."""
        with self.turn:
            self.answers[name] = answers
            self._anew()
            return name

    @property
    def entities(self) -> list[ProposedEntity]:
        """What seems to belong together, with what was chosen about it. Raises UsageError where nothing does."""
        with self.turn:
            if len(self.addresses) < 2:
                raise UsageError(NO_SYSTEMS, hint="a system is a database or a file")
            if self._entities is None:
                self._entities = propose(self.seen.samples, self.answers)
            if not self._entities:
                raise UsageError(NOTHING_SHARED, hint="connect others, or write the file by hand: docs/getting-started.md shows how")
            return self._entities

    def chosen(self) -> None:
        """Something was chosen about an entity or a field: what was typed before does not hold any more."""
        self.typed = self.preview = None

    def type(self, text: str) -> str:
        """Take a text for the file, as it stands."""
        with self.turn:
            self.typed, self.preview = text, None
            return text

    def forget(self) -> str:
        """Forget what was typed, and what was chosen about a configuration that there is; the text without it. Raises UsageError."""
        with self.turn:
            self.chosen()
            return self.text()

    def _anew(self) -> None:
        self._entities = None
        self.chosen()

    # -------------------------------------------------------------- the file

    @property
    def begins(self) -> bool:
        """Whether there is no configuration yet."""
        config = self._place.config
        return not (config.systems or config.manual)

    def text(self) -> str:
        """The file as it is to be. Raises UsageError where nothing is known that could be written."""
        with self.turn:
            if self.typed is not None:
                return self.typed
            if not self.begins:
                return text_of(self._place)
            head: Sequence[str] = (*text_of(self._place).splitlines(), *HEAD)  # what stands there now are comments
            if any(item.url is not None for item in self.addresses) and self.key_place().kind == "file":
                head = (*head, "", f"master_key: {{file: {KEY_FILE}}}    # keep a copy in a safe, away from the state and its backups")
            return as_yaml(self.addresses, self.entities, self.seen.clocks, sealed=True, head=head)

    def missing_secrets(self) -> list[str]:
        """The secrets that the file as it is to be names, and that are not kept yet. Raises UsageError, StateError."""
        from trueup.sealing import MasterKeys
        from trueup.store.vault import Vault

        kept = {one.name for one in Vault(self._place.store, MasterKeys(self.key_place())).known()}
        return [name for name in dict.fromkeys(_SECRET.findall(self.text())) if name not in kept]

    def look_ahead(self) -> Preview:
        """What would be saved, and what would come of it; nothing is changed anywhere. Raises ConfigError, Problem, StateError."""
        text, before = self.text(), text_of(self._place)
        found = look_ahead(self._place, text, before)
        self.preview = found
        return found

    def drift(self) -> str:
        """The drift report as a page, of the file as it is to be. Only reads. Raises ConfigError, Problem, TrueupError."""
        with tried(self._place, self.text(), connects=True) as (config, _file), Workspace(config, clock=self._place.clock) as workspace:
            report = measure_drift(config, workspace.systems, tuple(config.entities), workspace.clock(), None)
        return drift_page(report)

    def saved(self) -> None:
        """What was put together is the configuration now."""
        with self.turn:
            self.addresses.clear()
            self.seen = Seen()
            self._anew()


def look_ahead(place: Place, text: str, before: str) -> Preview:
    """What a text would be in place of `before`; nothing is changed anywhere. Raises ConfigError, Problem, StateError."""
    with tried(place, text, connects=True) as (config, file):
        with Workspace(config, clock=place.clock) as workspace:
            findings = workspace.check()
        for problems in (findings.problems, findings.warnings, findings.notes):
            problems[:] = [_named(one, file.name, Path(place.config.file).name) for one in problems]
        plan = None
        if findings.ok:
            with Workspace(config, clock=place.clock) as workspace:
                plan = workspace.plan()
    return Preview(before, text, difference(before, text), findings, plan)


def _named(one: Mistake, temporary: str, name: str) -> Mistake:
    """A finding in the words of the file that it will be about."""
    return replace(one, file=one.file.replace(temporary, name), message=one.message.replace(temporary, name))


def where(item: Address) -> str:
    """The place of a system without what nobody is to see of it."""
    if item.url is None:
        return item.path or ""
    parts = urlsplit(item.url)
    return f"{parts.hostname or 'this machine'}{f':{parts.port}' if parts.port else ''}{parts.path}"
