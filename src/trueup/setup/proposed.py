"""A configuration from addresses alone: what the systems hold is looked at, and what belongs together is proposed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trueup import scratch
from trueup.config.load import load_config
from trueup.connectors.registry import connector_class
from trueup.errors import UsageError
from trueup.setup.proposal import propose
from trueup.setup.samples import look
from trueup.setup.written import as_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.model import Config
    from trueup.reports.profile_facts import Clock
    from trueup.setup.addresses import Address
    from trueup.setup.samples import Looked, Sample

NOTHING_SHARED = "no two objects of these systems seem to hold the same records"


@dataclass(slots=True)
class Seen:
    """What each system holds, what was left out of it and why, and what time each system has."""

    samples: dict[str, tuple[Sample, ...]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    clocks: dict[str, Clock | None] = field(default_factory=dict)


def nothing_shared(seen: Seen, aside: Sequence[str] = (), *, then: str = "") -> UsageError:
    """What is said where nothing belongs together: what was found, why it was set `aside`, and what is now (`then`)."""
    found = "; ".join(f"{name}: {_objects(samples)}" for name, samples in seen.samples.items())
    why = "".join(f"; {line}" for line in aside)
    return UsageError(
        f"{NOTHING_SHARED} ({found}{why}){then}", hint="name their objects and fields in a trueup.yaml: docs/getting-started.md shows how"
    )


_NAMED = 8


def _objects(samples: Sequence[Sample]) -> str:
    if not samples:
        return "nothing that could be read"
    named = ", ".join(sample.name for sample in samples[:_NAMED])
    return named if len(samples) <= _NAMED else f"{named} and {len(samples) - _NAMED} more"


def look_at(addresses: Sequence[Address]) -> Seen:
    """Look at the systems. Raises what one that cannot be reached raises, and UsageError for fewer than two."""
    if len(addresses) < 2:
        raise UsageError("with fewer than two systems there is nothing to keep together", hint="name another one")
    found = Seen()
    for item in addresses:
        looked = look_at_one(item, str(Path.cwd()))
        found.samples[item.name] = looked.samples
        found.left_out += looked.left_out
        found.clocks[item.name] = looked.clock
    return found


def look_at_one(item: Address, directory: str) -> Looked:
    """Look at one system; a path of a file starts at `directory`. Raises what one that cannot be reached raises."""
    connector = connector_class(item.connector).open(item.name, item.settings, directory=directory)
    try:
        return look(item.name, connector, item.connector)
    finally:
        connector.close()


@contextmanager
def proposed(addresses: Sequence[Address]) -> Iterator[tuple[Config, list[str]]]:
    """A configuration that `init` would propose of these systems, and what was left out; there is no file of it afterwards.

    Raises as `look_at`, and UsageError where nothing belongs together.
    """
    seen = look_at(addresses)
    aside: list[str] = []
    entities = propose(seen.samples, aside=aside)
    if not entities:
        raise nothing_shared(seen, aside)
    seen.left_out += aside
    here = [replace(item, path=str(Path(item.path).absolute())) if item.path is not None else item for item in addresses]
    addressed = {item.variable: item.url for item in addresses if item.url is not None}
    with scratch.folder_for("proposed") as folder:
        file = folder / "trueup.yaml"
        file.write_text(as_yaml(here, entities, seen.clocks), encoding="utf-8")
        yield load_config(file, {**os.environ, **addressed}), seen.left_out
