"""One open page of one person: what it shows, what is done on it, and how it stays up to date."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from nicegui import ui

from trueup.errors import TrueupError
from trueup.web.access.problems import Problem
from trueup.web.dashboard.markup import title as heading
from trueup.web.dashboard.markup import words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping

    from trueup.runtime.workspace import Workspace
    from trueup.store import Db, Store
    from trueup.web.access import Role, User
    from trueup.web.dashboard.guest import Guest
    from trueup.web.dashboard.pulse import Pulse
    from trueup.web.dashboard.site import Site, Stamp

T = TypeVar("T")
NOTHING_YET = "Nothing was synced yet. Run `trueup check`, then `trueup plan`, then `trueup sync`; the pages fill by themselves then."
_log = logging.getLogger(__name__)


class Tab:
    """What every page of a client has at hand. Belongs to one browser tab."""

    def __init__(self, site: Site, pulse: Pulse, guest: Guest) -> None:
        """From within NiceGUI's page."""
        self.site, self.pulse, self.guest = site, pulse, guest
        self.client = ui.context.client
        self.turned = False  # whether this is not the first page of the tab any more
        self._said: ui.html | None = None
        self.about: Callable[[Stamp], Awaitable[None]] | None = None  # keeps the frame up to date

    # -------------------------------------------------------------- showing

    def head(self, said: str, *more: str) -> None:
        """Begin a page: its heading, and a place where the outcome of what is done is told."""
        markup(heading(said, *more))
        self._said = markup("", "said").props('role="status" aria-live="polite"')
        name = f"{said} – trueup"
        if self.turned:
            self.client.run_javascript(f"trueupTurned({_quoted(name)})")
        else:
            ui.page_title(name)
        self.turned = True
        self.still()

    def tell(self, said: str, kind: str = "") -> None:
        """Say what became of something, also to those who do not see it."""
        if self._said is not None:
            self._said.set_content(f'<div class="panel {kind}">{words(said)}</div>' if said else "")

    async def look(self, at: Callable[[Db], T]) -> T | None:
        """What the state says; None where it cannot be read, which is told."""
        try:
            return await asyncio.to_thread(self.site.look, at)
        except TrueupError as error:
            self.tell(str(error), "bad-news")
            return None

    async def shared(self, name: Hashable, at: Callable[[Db], T]) -> T | None:
        """As `look`, made once for everybody who asks for it while nothing happens."""
        try:
            stamp = self.pulse.stamp or await self.pulse.now()
            return await asyncio.to_thread(self.site.shared, name, at, stamp)
        except TrueupError as error:
            self.tell(str(error), "bad-news")
            return None

    # -------------------------------------------------------------- staying up to date

    def live(self, told: Callable[[], Awaitable[None]] | None) -> None:
        """Call this whenever something has happened, until another page is turned to; None: only the frame is kept up to date."""

        async def both(stamp: Stamp) -> None:
            with self.client:
                if self.about is not None:
                    await self.about(stamp)
                if told is not None:
                    await told()

        self.pulse.watch(self.client.id, both)

    def still(self) -> None:
        """This page does not change by itself."""
        self.live(None)

    # -------------------------------------------------------------- doing

    async def decide(
        self, role: Role, what: str, arguments: Mapping[str, Any], act: Callable[[Store], T], *, locked: bool = True
    ) -> T | None:
        """Let a function change the state in this person's name; None where it could not, which is told."""
        return await self._do(role, lambda user: self.site.decide(user, what, arguments, act, locked=locked))

    async def run(self, role: Role, what: str, arguments: Mapping[str, Any], act: Callable[[Workspace], T]) -> T | None:
        """Let a function work on the systems in this person's name; None where it could not, which is told."""
        return await self._do(role, lambda user: self.site.run(user, what, arguments, act))

    async def work(self, role: Role, act: Callable[[User], T]) -> T | None:
        """Let a function do something that is no decision yet; None where it could not, which is told."""
        return await self._do(role, act)

    async def _do(self, role: Role, act: Callable[[User], T]) -> T | None:
        try:
            done = await asyncio.to_thread(lambda: act(self.guest.require(role)))
        except Problem as error:
            self.tell(error.detail + (f" ({error.hint})" if error.hint else ""), "bad-news")
            return None
        except TrueupError as error:
            self.tell(str(error), "bad-news")
            return None
        except Exception:  # noqa: BLE001  a defect must not leave a person without an answer
            _log.exception("what was asked on a page could not be done")
            self.tell("This could not be done because of a defect in trueup; the log of `serve` says more.", "bad-news")
            return None
        await self.pulse.now()
        return done


# ---------------------------------------------------------------- pieces of NiceGUI


def markup(content: str, kind: str = "", tag: str = "div") -> ui.html:
    """HTML that `markup.py` made: everything in it is escaped already."""
    made = ui.html(content, sanitize=False, tag=tag)
    return made.classes(kind) if kind else made


def button(said: str, done: Callable[[], Any], *, key: str = "", kind: str = "", about: str = "") -> ui.html:
    """A button; `key` presses it, `about` tells those who do not see what it stands beside what it is about."""
    made = markup(said + (f" <kbd>{words(key)}</kbd>" if key else ""), kind, "button").on("click", done)
    made.props("type=button")
    if key:
        made.props["data-key"] = key
        made.props["aria-keyshortcuts"] = key
    if about:
        made.props["aria-label"] = about
    return made


def line() -> ui.element:
    """A line of things to do."""
    return ui.element("div").classes("doing")


class Field:
    """A box to type into or to choose from, under its label."""

    def __init__(
        self,
        label: str,
        value: str = "",
        *,
        kind: str = "text",
        choices: dict[str, str] | None = None,
        key: str = "",
        entered: Callable[[], Any] | None = None,
    ) -> None:
        """`choices`: what may be chosen, with its words. `entered` is called for Return, or when something was chosen."""
        self.value = value
        with ui.element("label"):
            markup(str(words(label)), tag="span")
            if choices is not None:
                options = "".join(
                    f"<option value={_attribute(name)}{' selected' if name == value else ''}>{words(said)}</option>"
                    for name, said in choices.items()
                )
                self.box: ui.element = markup(options.replace("<bdi>", "").replace("</bdi>", ""), tag="select")
                self.box.on("change", self._changed(entered), js_handler="(event) => emit(event.target.value)")
                return
            self.box = ui.element("textarea" if kind == "text of a file" else "input")
            if kind == "text of a file":
                self.box.props["rows"] = 24
                self.box.props["spellcheck"] = "false"
                self.box.classes("file")
            else:
                self.box.props["type"] = kind
            self.box.props["value"] = value
            self.box.props["autocomplete"] = "off"
            if key:
                self.box.props["data-key"] = key
            self.box.on("input", self._changed(None), js_handler="(event) => emit(event.target.value)")
            if entered is not None and kind == "number":
                self.box.on("change", lambda _event: entered(), js_handler="(event) => emit(event.target.value)")
            elif entered is not None:
                self.box.on("keydown.enter", entered)

    def keep(self) -> None:
        """Let what was typed stand there, whatever is drawn anew."""
        self.box.props["value"] = self.value
        self.box.update()

    def clear(self) -> None:
        """Take out what was typed."""
        self.value = ""
        ui.run_javascript(f"(() => {{ const it = document.getElementById('c{self.box.id}'); if (it) it.value = ''; }})()")

    def _changed(self, then: Callable[[], Any] | None) -> Callable[[Any], Any]:
        def changed(event: Any) -> Any:
            self.value = str(event.args)
            return then() if then is not None else None

        return changed


def _quoted(text: str) -> str:
    import orjson

    return orjson.dumps(text).decode().replace("<", "\\u003c")


def _attribute(text: str) -> str:
    from html import escape

    return f'"{escape(text, quote=True)}"'
