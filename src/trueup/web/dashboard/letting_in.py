"""Access to applications: a person agrees on a page of theirs, or types in what they are let in by, and it is kept sealed."""

from __future__ import annotations

import asyncio
from functools import partial
from html import escape
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

from nicegui import ui

from trueup.config.begin import load_or_begin
from trueup.config.load import load_config
from trueup.errors import ConfigError, UsageError
from trueup.runtime.connecting import Connected, Connecting, access_of, secrets_of
from trueup.sealing import MasterKeys
from trueup.store.vault import Vault
from trueup.web.access import acting
from trueup.web.dashboard.markup import pill, when, words
from trueup.web.dashboard.tab import Field, Tab, button, line, markup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trueup.credentials.endpoint import DeviceCode
    from trueup.reports.access import Access
    from trueup.store import Store
    from trueup.web.access import User

LIMIT_S = 300.0
LONGEST = 64 * 1024


class Agreeing:
    """Whoever agrees, at a page of the dashboard. See `credentials.walk.Person`; called from a thread of its own."""

    def __init__(self, show: Callable[[Callable[[], None]], None]) -> None:
        """`show` lets a function draw on the page."""
        self.pasted: Queue[str] = Queue()
        self._show = show

    def show_page(self, address: str, redirect_uri: str) -> None:
        """See Person."""
        self._show(lambda: self._draw_page(address, redirect_uri))

    def show_code(self, code: DeviceCode) -> None:
        """See Person."""
        address = code.whole_address or code.address
        self._show(lambda: _way(address, f"Open this page, and type in {code.user_code}:"))

    def say(self, text: str) -> None:
        """See Person."""
        self._show(lambda: _told(text))

    def _draw_page(self, address: str, redirect_uri: str) -> None:
        _way(address, "Agree on this page; it is then noticed here:")
        with line():
            box = Field("The address at which the browser ended, where it says that the page cannot be reached")
            button("Take this address", lambda: self.pasted.put(box.value.strip()))
        markup(f'<p class="quiet">{words(f"The answer is awaited at {redirect_uri} on the machine of the server, for five minutes.")}</p>')


def _told(text: str) -> None:
    markup(f'<p class="panel heed">{words(text)}</p>')


def _way(address: str, said: str) -> None:
    if not address.startswith(("https://", "http://")):
        raise UsageError("this is no address of a page")
    markup(
        f'<p>{words(said)}</p><p><a class="button" target="_blank" rel="noopener noreferrer" href="{escape(address, quote=True)}">'
        "Open the page</a></p>"
    )


async def letting_in(tab: Tab) -> None:
    """How access stands, and a way to give it, for each system that needs a person for that."""
    config = tab.site.config
    found = await tab.work("admin", lambda _user: _needed(config.file, list(config.systems)))
    if not found:
        return
    markup("<h2>Access</h2>")
    for name, (access, secrets) in found.items():
        with ui.element("div").classes("panel"):
            _one(tab, name, access, secrets)


def _needed(file: str, systems: list[str]) -> dict[str, tuple[Access | None, list[str]]]:
    """The systems that want a token or name secrets: how access stands, and which secrets these are."""
    try:
        config = load_or_begin(file)
    except ConfigError:  # a secret is missing: what does without is shown
        config = load_or_begin(file, connects=False)
    known = access_of(config)
    named = {name: secrets_of(Path(file), name) for name in systems}
    return {name: (known.get(name), named[name]) for name in systems if name in known or named[name]}


def _one(tab: Tab, name: str, access: Access | None, secrets: list[str]) -> None:
    now = tab.site.place.clock()
    said = "" if access is None else access.words(now).split(":")[0]
    state = "" if access is None else pill(said or "let in", "warn" if said else "good")
    since = "" if access is None or access.connected_at is None else f" since {when(access.connected_at)}"
    markup(f"<h3>{words(name)}</h3><p>{state}{since}</p>")
    for secret in secrets:
        ask_secret(tab, secret, f"{secret}, for {name}")
    if access is not None:
        doing = ui.element("div")
        with line():
            button(f"Give access to {words(name)}", partial(_give, tab, name, doing), kind="main")


def ask_secret(tab: Tab, secret: str, label: str, then: Callable[[], Awaitable[None]] | None = None) -> None:
    """A box for a secret, which is kept sealed; `then` is done afterwards."""
    with line():
        box = Field(label, kind="password")
        button("Keep it sealed", partial(_keep, tab, secret, box, then), about=f"Keep {secret} sealed")


async def _keep(tab: Tab, secret: str, box: Field, then: Callable[[], Awaitable[None]] | None) -> None:
    """Seal what was typed, in place of what was kept before."""
    value, draft = box.value, tab.site.place.draft

    def act(store: Store) -> int:
        if not value or len(value.encode()) > LONGEST:
            raise UsageError(f"no value was given for {secret}", hint="type it in, or paste it")
        return Vault(store, MasterKeys(draft.key_place())).set_(secret, value, tab.site.place.clock())

    done = await tab.decide("admin", "secrets set", {"secret": secret}, act, locked=False)
    if done is not None:
        box.clear()
        tab.tell(f"{secret} is kept sealed, version {done}.", "calm")
        tab.site.place.changed()
        if then is not None:
            await then()


async def _give(tab: Tab, name: str, doing: ui.element) -> None:
    """Let somebody agree, and keep what comes of it."""
    loop, client = asyncio.get_running_loop(), tab.client

    def show(draw: Callable[[], None]) -> None:
        def drawn() -> None:
            with client, doing:
                doing.clear()
                draw()

        loop.call_soon_threadsafe(drawn)

    def act(user: User) -> Any:
        config = load_config(tab.site.config.file, connects={name})
        with acting(user, "connect", {"name": name}, config=config), Connecting(config, name) as connecting:
            return connecting.connect(Agreeing(show), limit_s=LIMIT_S)

    tab.tell(f"Asking {name} …")
    found = await tab.work("admin", act)
    with client:
        doing.clear()
        if isinstance(found, Connected):
            missing = f" Not given: {', '.join(found.missing)}; what needs these will be refused." if found.missing else ""
            tab.tell(f"{name} has let trueup in.{missing}", "heed" if missing else "calm")
