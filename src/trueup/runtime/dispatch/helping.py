"""Workers that help a command, which has the state alone and decides: they read parts of large systems, and write batches, for it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from trueup.runtime.dispatch.agreement import agreed, bound_to_one_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from trueup.model import Config
    from trueup.runtime.hands import Hands
    from trueup.store import Store

ROLE = "command"


def _nobody(_entity: str) -> Hands | None:
    return None


@contextmanager
def helped(store: Store, config: Config, clock: Callable[[], datetime], *, wanted: bool = True) -> Iterator[Callable[[str], Hands | None]]:
    """Who lends a hand with an entity, while the block runs; None: nobody, as where no help is `wanted`.

    The state is held by this process alone.

    Where there are workers, it is held under a lease meanwhile, as by everybody who asks others for something: LeaseLostError where that
    was not renewed, and others have found out what became of this process's writes.
    """
    if not wanted or store.backend != "postgresql" or store.lease is not None:
        yield _nobody
        return
    from trueup.runtime.dispatch.membership import Membership
    from trueup.runtime.dispatch.team import WORKER, Team, TeamHands

    common = agreed(config)
    if not any(other.role == WORKER and other.agreed == common for other in store.others()):
        yield _nobody
        return
    with ExitStack() as stack:
        stack.callback(store.without_lease)
        stack.enter_context(Membership(store, ROLE, common, clock, None))
        store.share()
        team = Team(store, common)
        stack.callback(team.close)
        yield lambda entity: None if bound_to_one_machine(config, entity) else TeamHands(team, entity, None)
