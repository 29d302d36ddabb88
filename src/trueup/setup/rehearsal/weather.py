"""Bad weather: what networks and systems do to whoever uses them, drawn by chance, the same for the same number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trueup.connectors.faulty import Fault, by_chance
from trueup.errors import AccessRefusedError, SystemUnreachableError, TrueupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.connectors.faulty import Call
    from trueup.model import Caps

Weather = Literal["calm", "rough", "storm"]
ONE_IN = {"rough": 6, "storm": 3}
"""About one call in so many goes wrong."""


def _timed_out() -> TrueupError:
    return SystemUnreachableError("the system did not answer within 30 seconds", hint="it is tried again")


def _throttled() -> TrueupError:
    return SystemUnreachableError("too many requests: the system asks to wait", hint="it is tried again")


def _locked() -> TrueupError:
    return SystemUnreachableError("the database is locked by another program", hint="it is tried again")


def _expired() -> TrueupError:
    return AccessRefusedError("the token has expired", hint="it is renewed")


def _broken() -> TrueupError:
    return SystemUnreachableError("the connection broke", hint="it is tried again")


FAULTS = (
    Fault("read", "before", error=_timed_out, name="no answer to a read"),
    Fault("read", "before", error=_throttled, name="too many requests"),
    Fault("read", "before", error=_expired, name="an expired token"),
    Fault("read", "after", error=_broken, name="a read that broke off"),
    Fault("read", "partial", keyed=False, name="a listing that was not complete"),
    Fault("find", "before", error=_timed_out, name="no answer to a lookup"),
    Fault("write", "before", error=_locked, name="a locked database"),
    Fault("write", "after", error=_timed_out, name="a write that landed and whose reply was lost"),
    Fault("write", "half", error=_broken, name="half a batch written"),
    Fault("write", "retry", name="a system too busy to write"),
)


def fault_decider(weather: Weather, seed: int, caps: Caps) -> Callable[[Call], Fault | None] | None:
    """What goes wrong at which call; None in calm weather. A system that writes a batch whole or not at all never writes half of one."""
    if weather == "calm":
        return None
    fitting = [fault for fault in FAULTS if fault.how != "half" or not caps.atomic]
    return by_chance(seed, one_in=ONE_IN[weather], faults=fitting)
