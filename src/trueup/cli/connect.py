"""`trueup connect`: give trueup access to a system."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, all_loaded, begin_command, complain, config_path, say, say_json, style

if TYPE_CHECKING:
    from trueup.credentials.endpoint import DeviceCode
    from trueup.model import Config
    from trueup.runtime.connecting import Connected

LIMIT_S = 300.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("connect", short_help="Give trueup access to a system.")(connect)


def connect(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="SYSTEM", help="The system; left out: how access to all of them stands.", show_default=False)
    ] = None,
    *,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Open no browser here; the address is shown.", show_default=False)
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1.0, help="How long to wait for an answer.")] = LIMIT_S,
    renew: Annotated[bool, typer.Option("--renew", help="Ask for passwords and keys that are there, too.", show_default=False)] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Give access back, and forget it.", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give trueup access to a system: a page opens in the browser, on which you agree, and what comes of it is kept sealed in the state.

    Where the browser is on another machine, open the address that is shown there, and paste the address at which it ends here. Of a system
    with a password or a key, these are asked for instead. Do it again when access has ended; nothing is lost meanwhile.
    """
    if name is None:
        _list(ctx, config, as_json=as_json)
        return
    from trueup.config.load import load_config
    from trueup.errors import UsageError
    from trueup.runtime.connecting import Connecting, secrets_of

    path = config_path(ctx, config)
    loose = load_config(path, connects=False)
    if name not in loose.systems:
        raise UsageError(f"there is no system {name}", hint=f"there are {', '.join(loose.systems)}")
    begin_command(ctx, loose)
    all_loaded()
    if not forget:
        _ask_secrets(loose, name, renew=renew, told=secrets_of(path, name))
    full = load_config(path, connects={name})
    with Connecting(full, name) as connecting:
        if forget:
            told = connecting.forget()
            said = f"Forgot the access to {name}" + ("; it was given back." if told else ".")
            (say_json({"system": name, "forgotten": True, "revoked": told}) if as_json else say(said))
            return
        found = connecting.connect(_Terminal(name, quiet=as_json, browser=not no_browser), limit_s=timeout)
    _told(name, found, as_json=as_json)


def _told(name: str, found: Connected | None, *, as_json: bool) -> None:
    if found is None:
        if as_json:
            say_json({"system": name, "connected": True, "access": None, "missing_scopes": [], "renewable": False})
        else:
            say(f"{name} has all that it needs. `trueup check` tries it.")
        return
    if as_json:
        facts = {"access": found.access.as_json(), "missing_scopes": list(found.missing), "renewable": found.renewable}
        say_json({"system": name, "connected": True, **facts})
        return
    say(f"Connected {name}." + (" trueup renews this access by itself." if found.renewable else " It cannot be renewed without you."))
    if found.missing:
        say(f"Not given: {', '.join(found.missing)}. What needs these will be refused: agree to all, or take them out of `scopes`.")
    say("`trueup check` tries it.")


def _list(ctx: typer.Context, config: Path | None, *, as_json: bool) -> None:
    from datetime import UTC, datetime

    from trueup.config.load import load_config
    from trueup.reports.access import access_table
    from trueup.runtime.connecting import access_of

    loaded = load_config(config_path(ctx, config), connects=False)
    all_loaded()
    found = access_of(loaded)
    if as_json:
        say_json([one.as_json() for one in found.values()])
    else:
        say(access_table(found, datetime.now(UTC), style()) or "No system is connected this way.")


def _ask_secrets(config: Config, name: str, *, renew: bool, told: list[str]) -> None:
    """Ask for the secrets that stand in the settings of a system and are not there yet."""
    if not told:
        return
    from datetime import UTC, datetime

    from trueup.sealing import MasterKeys
    from trueup.store import Store
    from trueup.store.vault import Vault

    masters = MasterKeys(config.master_key)
    with Store.open(config.state) as store:
        vault = Vault(store, masters)
        known = {one.name for one in vault.known() if one.opens}
        wanted = [one for one in told if renew or one not in known]
        if wanted:
            masters.current()  # before anything is asked for
        for one in wanted:
            vault.set_(one, _value(one, name), datetime.now(UTC))


def _value(secret: str, system: str) -> str:
    from trueup.errors import UsageError

    if sys.stdin.isatty():
        from getpass import getpass

        value = getpass(f"{secret} for {system}: ")
    else:
        value = sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise UsageError(f"no value was given for {secret}", hint="it is asked for in a terminal, or read from stdin, one line each")
    return value


class _Terminal:
    """Whoever sits in front of it. See `credentials.walk.Person`."""

    def __init__(self, system: str, *, quiet: bool, browser: bool) -> None:
        """`quiet`: stdout is for programs."""
        self.pasted: Queue[str] = Queue()
        self._system = system
        self._quiet = quiet
        self._browser = browser

    def show_page(self, address: str, redirect_uri: str) -> None:
        """See Person."""
        opened = self._browser and _can_show() and _open(address)
        lead = f"A browser shows where to give access to {self._system}" if opened else f"Give access to {self._system} on this page"
        self._out(f"{lead}:\n\n  {address}\n")
        self._out(f"Waiting for the answer at {redirect_uri}. If the browser ends there without reaching it, paste that address here.")
        Thread(target=self._read, name="paste", daemon=True).start()

    def show_code(self, code: DeviceCode) -> None:
        """See Person."""
        self._out(f"Give access to {self._system}: open {code.address} and type in {code.user_code}")
        if code.whole_address:
            self._out(f"or open {code.whole_address}")
        self._out("Waiting for it.")

    def say(self, text: str) -> None:
        """See Person."""
        complain(text)

    def _out(self, text: str) -> None:
        stream = sys.stderr if self._quiet else sys.stdout
        stream.write(text + "\n")
        stream.flush()

    def _read(self) -> None:
        with suppress(OSError, ValueError, AttributeError):  # closed, or never there: nobody pastes anything
            for line in sys.stdin:
                self.pasted.put(line)


def _can_show() -> bool:
    """Whether a window can appear here: a browser inside the terminal would take it away from us."""
    if os.environ.get("BROWSER") or not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(address: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return False
