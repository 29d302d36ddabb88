"""Sends reports to those who get them: each copy once, tried again where it bounces, and never again where nobody knows.

A copy is claimed in the state before it is sent, so that `serve` and a command of cron do not send it both.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from trueup import scratch
from trueup.reports.table import moment
from trueup.runtime.channels import Sent, send, shown
from trueup.store import report as reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from trueup.model import Config
    from trueup.store import Store
    from trueup.store.report import Copy, CopyState, Kept

AGAIN_S = (60.0, 300.0, 900.0, 3600.0)
"""When a copy that bounced is tried again."""
GIVE_UP = timedelta(days=3)
LOST = timedelta(minutes=10)
"""Whoever has been sending a copy for so long has ended; whether it arrived, nobody knows."""
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address: under which name it stands in `alerts: to`, and how it is known in the state, where no address is kept.

    `number` is its place under that name; None where it is the only one there.
    """

    key: str
    name: str
    address: str
    number: int | None = None

    @property
    def shown(self) -> str:
        """For people: the name and the kind of channel."""
        which = "" if self.number is None else f", address {self.number}"
        return f"{self.name}{which} ({shown(self.address)})"


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a copy. `to` is for people; `name` None: it is configured no more. `why` None: it was sent."""

    report: int
    name: str | None
    to: str
    state: CopyState
    why: str | None
    next_try_at: datetime | None = None


def recipients(config: Config) -> dict[str, Recipient]:
    """By key, everybody who gets the report now: one per address, so that one that bounces keeps no other waiting."""
    found = {}
    for name in config.report.to if config.report is not None else ():
        addresses = config.alerts.to.get(name, ())
        for number, address in enumerate(addresses, 1):
            # Eight digits tell addresses apart, and are too few to try a guessed password on.
            key = f"{name} {hashlib.sha256(address.encode()).hexdigest()[:8]}"
            found[key] = Recipient(key, name, address, number if len(addresses) > 1 else None)
    return found


def post(store: Store, config: Config, clock: Callable[[], datetime], *, at_once: bool = False) -> list[Posted]:
    """Send what is to be sent now; `at_once`: also what was to be tried later. Raises StateError."""
    known = recipients(config)
    with store.read() as db:
        waiting = reports.open_copies(db)
    posted = [*_lost(store, waiting, known, clock()), *_unknown(store, waiting, known)]
    if at_once:
        posted += _busy(waiting, known, clock())
    mine = [(copy, known[copy.recipient]) for copy in waiting if _is_mine(store, copy, known, clock(), at_once=at_once)]
    if not mine:
        return posted
    with store.read() as db:
        contents = {number: reports.get(db, number) for number in {copy.report for copy, _to in mine}}
    attach = config.report is not None and config.report.attach

    def one(item: tuple[Copy, Recipient]) -> Posted:
        copy, to = item
        kept = contents[copy.report]
        assert kept is not None
        sent = _send(kept, to, attach=attach)
        now = clock()
        if sent.why is None:
            return _settled(store, copy, to, "sent", None)
        if now - kept.at > GIVE_UP:
            return _settled(store, copy, to, "given up", sent.why)
        again = now + timedelta(seconds=AGAIN_S[min(copy.attempts, len(AGAIN_S) - 1)])
        return _settled(store, copy, to, "waiting", sent.why, again)

    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(mine)), thread_name_prefix="report") as pool:
        return [*posted, *pool.map(one, mine)]


def _lost(store: Store, waiting: Sequence[Copy], known: Mapping[str, Recipient], now: datetime) -> Iterator[Posted]:
    """Copies whose sender has ended."""
    for copy in waiting:
        if copy.state == "sending" and copy.tried_at is not None and now - copy.tried_at > LOST:
            yield _settled(store, copy, known.get(copy.recipient), "unknown", "whoever sent it ended before its end")


def _busy(waiting: Sequence[Copy], known: Mapping[str, Recipient], now: datetime) -> Iterator[Posted]:
    """Copies that somebody else is about: told to a person who asks for all to be sent."""
    for copy in waiting:
        if copy.state == "sending" and copy.tried_at is not None and now - copy.tried_at <= LOST:
            to = known.get(copy.recipient)
            why = f"somebody has been sending it since {moment(copy.tried_at)}"
            yield Posted(copy.report, None if to is None else to.name, name_of(copy) if to is None else to.shown, "sending", why)


def _unknown(store: Store, waiting: Sequence[Copy], known: Mapping[str, Recipient]) -> Iterator[Posted]:
    """Copies for addresses that are configured no more."""
    for copy in waiting:
        if copy.state == "waiting" and copy.recipient not in known:
            yield _settled(store, copy, None, "given up", "it is configured no more")


def _is_mine(store: Store, copy: Copy, known: Mapping[str, Recipient], now: datetime, *, at_once: bool) -> bool:
    """Whether a copy is to be sent now, and by nobody else."""
    if copy.state != "waiting" or copy.recipient not in known:
        return False
    if not at_once and copy.next_try_at is not None and copy.next_try_at > now:
        return False
    with store.write() as tx:
        return reports.claim(tx, copy, now)


def _settled(
    store: Store, copy: Copy, to: Recipient | None, state: CopyState, why: str | None, next_try_at: datetime | None = None
) -> Posted:
    with store.write() as tx:
        reports.settle(tx, copy, state, reason=why, next_try_at=next_try_at)
    return Posted(copy.report, None if to is None else to.name, name_of(copy) if to is None else to.shown, state, why, next_try_at)


def name_of(copy: Copy) -> str:
    """Under which name a copy's recipient stands, or stood, in `alerts: to`."""
    return copy.recipient.rpartition(" ")[0]


def _send(kept: Kept, to: Recipient, *, attach: bool) -> Sent:
    with scratch.folder_for("report") as folder:
        files: Sequence[Path] = ()
        if attach and kept.page is not None and kept.lines is not None:
            page = Path(folder, f"report-{kept.at:%Y-%m-%d}.html")
            lines = page.with_suffix(".csv")
            page.write_text(kept.page, encoding="utf-8")
            lines.write_text(kept.lines, encoding="utf-8", newline="")
            files = (page, lines)
        return send([to.address], kept.title, kept.message or "", "info", files=files)
