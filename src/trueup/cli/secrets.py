"""`trueup secrets`: passwords and tokens kept sealed in the state, for `${secret:NAME}` in the configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import AsJson, ConfigFile, all_loaded, config_path, say, say_json, style

if TYPE_CHECKING:
    from trueup.config.secrets import StatePlace
    from trueup.store.vault import Vault

MOST_BYTES = 64 * 1024

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, as in ${secret:NAME}.", show_default=False)]

secrets = typer.Typer(rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(secrets, name="secrets", short_help="Passwords and tokens, kept sealed in the state.")


def begin(ctx: typer.Context, **told: str) -> None:
    """Let the audit trail know the command; its line goes with the change that it makes in the state."""
    from trueup.store import audit

    name = " ".join(ctx.command_path.split()[1:])
    audit.begin(audit.Command(name, told, datetime.now(UTC), str(config_path(ctx, None))))


@contextmanager
def vault_of(place: StatePlace, *, change: bool) -> Iterator[Vault | None]:
    """The secrets of a state; where there is no state, None for looking, and a new one for a change."""
    from trueup.errors import StateMissingError
    from trueup.sealing import MasterKeys
    from trueup.store import Store
    from trueup.store.vault import Vault

    all_loaded()
    try:
        store = Store.open(place.target) if change else Store.open(place.target, read_only=True, older=True)
    except StateMissingError:
        yield None
        return
    with store:
        yield Vault(store, MasterKeys(place.master_key))


@secrets.callback(invoke_without_command=True)
def all_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Keep the passwords and tokens of systems sealed in the state; `${secret:NAME}` in the configuration stands for one.

    Without a further command they are listed. No command shows a value.
    """
    config_path(ctx, config)
    if ctx.invoked_subcommand is None:
        _list(ctx, as_json=as_json)


@secrets.command("list", short_help="The names, and where each is used.")
def list_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the secrets by name, with the places in the configuration that use them; no value is shown."""
    config_path(ctx, config)
    _list(ctx, as_json=as_json)


def _list(ctx: typer.Context, *, as_json: bool) -> None:
    from trueup.config.environment import secrets_used
    from trueup.config.secrets import read_state_place
    from trueup.reports.table import table
    from trueup.runtime.credentials import known_credentials
    from trueup.yamlfile import dotted

    place = read_state_place(config_path(ctx, None))
    used = {name: [dotted(path) for path in paths] for name, paths in secrets_used(place.document).items()}
    with vault_of(place, change=False) as vault:
        known = vault.known() if vault is not None else []
    for token in known_credentials(place.target).values():
        used.setdefault(token.secret, []).append(f"trueup connect {token.system}")
    rows: list[dict[str, Any]] = [
        {"name": one.name, "version": one.version, "set_at": one.at.strftime("%Y-%m-%dT%H:%M:%SZ"), "opens": one.opens} for one in known
    ]
    rows += [{"name": name, "version": None, "set_at": None, "opens": False} for name in sorted(used.keys() - {one.name for one in known})]
    for row in rows:
        row["used"] = used.get(row["name"], [])
    if as_json:
        say_json(rows)
        return
    shown = [[row["name"], row["version"], row["set_at"], _word(row), ", ".join(row["used"]) or "nowhere"] for row in rows]
    say(table(["secret", "version", "set", "", "used by"], shown, style()) or "There are no secrets: `trueup secrets set NAME` keeps one.")


def _word(row: dict[str, Any]) -> str:
    if row["version"] is None:
        return "not set"
    return "" if row["opens"] else "does not open: see `trueup keys`"


@secrets.command("set", short_help="Keep a value, read from stdin or asked for.", context_settings={"allow_extra_args": True})
def set_(
    ctx: typer.Context,
    name: Name,
    *,
    anew: Annotated[
        bool, typer.Option("--anew", help="Seal under a new data key: the master key of the present one is lost.", show_default=False)
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Keep a value under a name, in place of the one before. It is asked for, or read from stdin; it is never an argument.

    A running process keeps the value that it began with.
    """
    from trueup.config.secrets import read_state_place
    from trueup.errors import UsageError
    from trueup.sealing import MasterKeys
    from trueup.store.vault import check_name

    if ctx.args:
        raise UsageError(
            "a value on the command line is seen by everybody on this machine, and kept by the shell: nothing was done",
            hint=f"change that password where it is used; then run `trueup secrets set {name}`, which asks for it",
        )
    check_name(name)
    _no_token(name)
    place = read_state_place(config_path(ctx, config))
    MasterKeys(place.master_key).current()  # before anything is asked for, or made
    value = _asked(name) if sys.stdin.isatty() else _from_stdin()
    begin(ctx, secret=name)
    with vault_of(place, change=True) as vault:
        assert vault is not None
        version = vault.set_(name, value, datetime.now(UTC), fresh_key=anew)
    if as_json:
        say_json({"name": name, "version": version})
    else:
        say(f"Kept {name}, version {version}. Write ${{secret:{name}}} where the configuration needs it.")


@secrets.command("remove", short_help="Forget a value.")
def remove(
    ctx: typer.Context,
    name: Name,
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Forget a value that the configuration does not use any more."""
    from trueup.config.environment import secrets_used
    from trueup.config.secrets import read_state_place
    from trueup.errors import UsageError
    from trueup.yamlfile import dotted

    _no_token(name)
    place = read_state_place(config_path(ctx, config))
    if used := secrets_used(place.document).get(name):
        raise UsageError(f"the secret {name} is used by {', '.join(map(dotted, used))}", hint="take it out of the configuration first")
    with vault_of(place, change=False) as found:
        known = found is not None and name in {one.name for one in found.known()}
    if not known:
        raise UsageError(f"there is no secret {name}", hint="`trueup secrets` lists them")
    begin(ctx, secret=name)
    with vault_of(place, change=True) as vault:
        assert vault is not None
        vault.remove(name, datetime.now(UTC))
    if as_json:
        say_json({"removed": name})
    else:
        say(f"Forgot {name}.")


@secrets.command("rotate", short_help="Seal all values anew.")
def rotate(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Seal every value anew under a new data key. The values stay, and so does the master key: see `trueup keys rotate`.

    It may be done while a run is at work. A new value for a secret is `trueup secrets set`.
    """
    from trueup.config.secrets import read_state_place
    from trueup.errors import StateMissingError
    from trueup.reports.table import counted

    place = read_state_place(config_path(ctx, config))
    with vault_of(place, change=False) as found:
        if found is None:
            raise StateMissingError("there is no state yet, and so there are no secrets", hint="`trueup secrets set NAME` keeps one")
    begin(ctx)
    with vault_of(place, change=True) as vault:
        assert vault is not None
        number = vault.rotate(datetime.now(UTC))
    if as_json:
        say_json({"sealed": number})
    else:
        say(f"Sealed {counted(number, 'secret')} anew.")


def _no_token(name: str) -> None:
    from trueup.errors import UsageError
    from trueup.store.credential import PREFIX

    if name.startswith(PREFIX):
        system = name.removeprefix(PREFIX)
        raise UsageError(
            f"{name} is a token that trueup renews by itself",
            hint=f"`trueup connect {system}` makes a new one, `trueup connect {system} --forget` forgets it",
        )


def _asked(name: str) -> str:
    """The value, typed twice without being shown."""
    from getpass import getpass

    from trueup.errors import UsageError

    value = getpass(f"Value of {name}: ")
    if value != getpass("Once more: "):
        raise UsageError("the two values differ", hint="nothing was changed; try again")
    return value


def _from_stdin() -> str:
    """The value: all of stdin, without the line end behind it."""
    from trueup.errors import UsageError

    content = sys.stdin.buffer.read(MOST_BYTES + 3)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError("what stands on stdin is not UTF-8 text", hint="nothing was changed") from None
    return text.removesuffix("\n").removesuffix("\r")
