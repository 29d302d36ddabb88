"""Who is told: the subscribers that the state knows become those that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.store import notice

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.model import Config
    from trueup.store import Store


def settle(store: Store, config: Config, now: datetime) -> tuple[list[str], list[str]]:
    """Begin those that are new, with what changes from now on, and forget those that are gone, with all that was kept for them.

    Who began, and who ended. Nothing is written where nothing is to be done.
    """
    with store.read() as db:
        known = {one.name for one in notice.list_(db)}
    if known == config.notices.keys():
        return [], []
    with store.write() as tx:
        ended = notice.keep_only(tx, config.notices.keys())
        begun = [name for name in config.notices if name not in known]
        for name in begun:
            notice.begin(tx, name, now)
    return begun, ended
