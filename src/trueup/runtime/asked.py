"""What a program asks a workspace for, as the audit trail tells it: a command line has told of itself, a program has not."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trueup.errors import StateError, StateMissingError
from trueup.store import Store, audit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trueup.model import Config

WAY = "trueup.open"


@contextmanager
def told(config: Config, state: Store | str, what: str, arguments: dict[str, Any], at: datetime, *, looks: bool) -> Iterator[None]:
    """While the block runs, this is what the trail of the `state` (opened, or where it is) tells of. `looks`: at once; nothing is changed.

    `arguments` hold nothing secret or personal. Where there is no state, there is no trail. A state that may be read and not written is
    shown all the same, with a warning.
    """
    kept = {name: value for name, value in arguments.items() if value not in (None, False, [], ())}
    with audit.asked(audit.Command(f"{WAY} {what}", kept, at, config.file, config.digests)):
        if looks:
            _note(state)
        yield


def _note(state: Store | str) -> None:
    """The line goes with any transaction."""
    try:
        if isinstance(state, Store):
            with state.write():
                return
        with Store.open(state, create=False, upgrade=False) as store, store.write():
            return
    except StateMissingError:
        return
    except StateError as error:
        warnings.warn(f"not noted in the audit trail: {error}", RuntimeWarning, stacklevel=5)
