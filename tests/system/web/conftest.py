"""A receiver as `serve` starts it, on a state in a file and on one in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.hook_client import STANDARD
from trueup.model import Config, Entity, Mapping, ObjectSpec, System
from trueup.web import receiver
from trueup.web.receiver import Handle

TOKEN = {"kind": "token", "header": "X-Token", "secret": "t0ken"}
HOOKS: dict[str, dict[str, Any]] = {
    "shop": {"verify": {"kind": "standard", "secret": STANDARD}},
    "till": {"verify": TOKEN, "max_bytes": 2048},
    "crm": {"verify": TOKEN, "event": {"id": "/id", "key": ("/data/id",), "object": "/data/table"}},
    "basic": {"verify": {"kind": "basic", "user": "hook", "password": "pw"}},
    "website": {"verify": TOKEN},
}


def config_of(state: str, hooks: dict[str, dict[str, Any]]) -> Config:
    """A configuration with these systems, one without a webhook, and one that only pushes."""
    systems = {name: System(name=name, connector="sqlite", webhook=webhook) for name, webhook in hooks.items()}
    systems["silent"] = System(name="silent", connector="sqlite")
    if "website" in systems:
        systems["website"] = System(name="website", connector="webhook", webhook=hooks["website"])
    lead = Mapping(entity="lead", system="website", object=ObjectSpec(name=None, key=("/lead/id",)), fields={})
    return Config(
        file="x", directory=".", state=state, systems=systems, entities={"lead": Entity(name="lead", fields={}, mappings={"website": lead})}
    )


@pytest.fixture
def started() -> Iterator[Callable[..., Handle]]:
    """Start receivers, which are stopped at the end."""
    with ExitStack() as stack:

        def start(state: str | Path, hooks: dict[str, dict[str, Any]] | None = None, **given: Any) -> Handle:
            handle = receiver.start(config_of(str(state), hooks or HOOKS), str(state), port=0, **given)
            stack.callback(handle.stop)
            return handle

        yield start


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a state."""
    return str(tmp_path / "state.db") if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
