"""How it stands with those who are told of changes; and what a person may have done at once: a test, and everything that is due."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from trueup.errors import StateLockedError
from trueup.runtime.notices.message import signed, test_body
from trueup.runtime.notices.post import Poster
from trueup.runtime.notices.sending import Sending
from trueup.runtime.notices.subscribed import settle
from trueup.store import golden, notice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from trueup.model import Config, Subscription
    from trueup.store import Db, Store
    from trueup.store.notice import Subscriber

COUNTED = 1_000
"""So many records that are due are counted; more are "more"."""


def standing_of(store: Store | None, config: Config) -> list[dict[str, Any]]:
    """Per subscriber of the configuration how far it has been told; one that the state does not know yet has no `since`."""
    if store is None:
        return [_standing(None, to, None) for to in config.notices.values()]
    with store.read() as db:
        return [_standing(db, to, notice.get(db, to.name)) for to in config.notices.values()]


def _standing(db: Db | None, to: Subscription, known: Subscriber | None) -> dict[str, Any]:
    found: dict[str, Any] = {"name": to.name, "to": shown(to.url), "entities": list(to.entities), "since": None, "sent_at": None}
    found |= {"due": 0, "waiting": 0, "dead": 0, "failing_since": None, "next_try_at": None, "why": None, "stopped": None}
    if db is None or known is None:
        return found
    standing = notice.standings(db).get(to.name, notice.Standing())
    found["due"] = _due(db, to, known)
    found |= {"waiting": standing.waiting, "dead": standing.dead, "since": known.since, "sent_at": known.sent_at}
    return found | {
        "failing_since": known.failing_since or standing.oldest_at,
        "next_try_at": known.next_try_at or standing.next_try_at,
        "why": known.reason,
        "stopped": known.stopped,
    }


def _due(db: Db, to: Subscription, known: Subscriber) -> int:
    """How many records it has not been told of, at most `COUNTED`."""
    if known.version > golden.current_version(db):
        return 0
    position = (known.version, known.golden_id)
    return min(COUNTED, sum(len(notice.moved(db, name, position, COUNTED)) for name in to.entities))


def shown(url: str) -> str:
    """An address for people: the machine alone, for the rest may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"


def dead_of(store: Store, names: Sequence[str] | None) -> list[dict[str, Any]]:
    """The notices that were given up, oldest first; `names` None: everybody's."""
    with store.read() as db:
        found = [one for one in notice.dead(db) if names is None or one.subscriber in names]
    return [
        {
            "id": one.id,
            "to": one.subscriber,
            "entity": one.entity,
            "record": one.golden_id,
            "attempts": one.attempts,
            "first_at": one.first_at,
            "dead_at": one.dead_at,
            "reason": one.reason,
        }
        for one in found
    ]


def tested(to: Subscription, now: datetime) -> str | None:
    """Send a message that only says that messages arrive; why it did not, None where it did."""
    body, number = test_body(now), f"trueup_test_{uuid4().hex}"
    poster = Poster(to.url, timeout_s=to.timeout_s, insecure=to.insecure, headers=to.headers)
    try:
        return poster.post(body, signed(to.secrets, number, body, int(now.timestamp()))).why
    finally:
        poster.close()


def send_all(store: Store, config: Config, names: Sequence[str] | None, clock: Callable[[], datetime]) -> dict[str, dict[str, Any]]:
    """Send what is due now to these subscribers (None: all), as the only one who sends. Raises StateLockedError where a server does."""
    with ExitStack() as stack:
        _alone(store, stack, clock)
        settle(store, config, clock())
        found = {}
        for name in names or config.notices:
            to = config.notices[name]
            sending = Sending(config, to, store, clock)
            stack.callback(sending.close)
            sent = 0
            while (step := sending.step()).sent or step.wait_s == 0.0:
                sent += step.sent
            with store.read() as db:
                found[name] = {"sent": sent, **_standing(db, to, notice.get(db, name))}
        return found


def _alone(store: Store, stack: ExitStack, clock: Callable[[], datetime]) -> None:
    stack.enter_context(store.serving(clock()))
    leader = next((one for one in store.others() if one.leads), None) if store.backend == "postgresql" else None
    if leader is not None:
        raise StateLockedError(leader.pid, leader.host)
