"""Live pages: one look at the state per process, whoever watches; pages are told only where something has happened."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from trueup.errors import TrueupError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trueup.web.dashboard.site import Site, Stamp

EVERY_S = 1.0
OLD_S = 30.0
_log = logging.getLogger(__name__)


class Pulse:
    """Tells pages that something has happened. Belongs to one event loop."""

    def __init__(self, site: Site, every_s: float = EVERY_S) -> None:
        """Nobody watches."""
        self._site = site
        self._every_s = every_s
        self._pages: dict[str, Callable[[Stamp], Awaitable[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self.stamp: Stamp = ()

    def watch(self, page: str, told: Callable[[Stamp], Awaitable[None]]) -> None:
        """Call this whenever something has happened, in place of what this page gave before."""
        self._pages[page] = told
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._beat())

    def leave(self, page: str) -> None:
        """A page was closed, or shows something that does not change."""
        self._pages.pop(page, None)

    async def now(self) -> Stamp:
        """The stamp of this moment."""
        self.stamp = await self._look()
        return self.stamp

    async def _look(self) -> Stamp:
        """What is told of the age of things grows old by itself, so that a while is something that happens, too."""
        return (*await asyncio.to_thread(self._site.stamp), int(time.monotonic() / OLD_S))

    async def _beat(self) -> None:
        """Look for as long as anybody watches."""
        while self._pages:
            await asyncio.sleep(self._every_s)
            try:
                found = await self._look()
            except TrueupError as error:
                _log.warning("the state cannot be looked at: %s", error.message)
                continue
            if found == self.stamp:
                continue
            self.stamp = found
            for page, told in list(self._pages.items()):
                try:
                    await told(found)
                except Exception:  # noqa: BLE001  one page's trouble is not the others'
                    _log.exception("a page could not be told")
                    self.leave(page)
