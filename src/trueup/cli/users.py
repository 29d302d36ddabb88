"""`trueup users`: who may use the dashboard and the API, and the keys of programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import AsJson, ConfigFile, config_path, say, say_json, style, workspace_of

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.store import Store
    from trueup.store.person import Person

users = typer.Typer(rich_markup_mode=None)
key = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name to log in with, for example a mail address.", show_default=False)]
RoleName = Annotated[str, typer.Argument(metavar="ROLE", help="viewer, reviewer, operator or admin.", show_default=False)]
At = Annotated[str, typer.Option("--at", metavar="URL", help="Where people reach `serve`; it begins the link.")]
Number = Annotated[str, typer.Argument(metavar="ID", help="The key's number, as `trueup users key list` shows it.", show_default=False)]
Days = Annotated[int, typer.Option("--days", metavar="N", help="It runs out after so many days.", min=1, max=730)]
AT = "http://127.0.0.1:8080"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    users.add_typer(key, name="key", short_help="Keys with which programs use the API.")
    app.add_typer(users, name="users", short_help="Who may use the dashboard and the API.")


@users.callback(invoke_without_command=True)
def all_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say who may use the dashboard and the API of `serve`, and as what. Without a further command they are listed.

    viewer: looks at everything. reviewer: also settles conflicts, failures and matches. operator: also answers holds, syncs, pauses,
    verifies and undoes. admin: also changes the configuration and who may enter.
    """
    config_path(ctx, config)
    if ctx.invoked_subcommand is None:
        _list(ctx, as_json=as_json)


@users.command("list", short_help="Who there is.")
def list_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the people: name, role, whether they may enter, and when they last did."""
    config_path(ctx, config)
    _list(ctx, as_json=as_json)


def _list(ctx: typer.Context, *, as_json: bool) -> None:
    from trueup.cli.shared import state_to_read
    from trueup.reports.table import table
    from trueup.store import person
    from trueup.web.access.people import person_dict

    rows: list[dict[str, Any]] = []
    with workspace_of(ctx, None, connects=False) as workspace, state_to_read(workspace) as store:
        if store is not None:
            with store.read() as db:
                rows = [person_dict(one) for one in person.list_(db)]
    if as_json:
        say_json(rows)
        return
    shown = [[row["name"], row["role"], row["state"], row["seen_at"] or "never", row["created_by"]] for row in rows]
    say(table(("name", "role", "", "last login", "added by"), shown, style()) or "Nobody yet: `trueup serve` prints a link for the first.")


@users.command("add", short_help="Let somebody in.")
def add(
    ctx: typer.Context,
    name: Name,
    *,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, reviewer, operator or admin.")] = "viewer",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin instead of making a link.", show_default=False)
    ] = False,
    at: At = AT,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Let somebody in. A link is printed with which they choose their password; it is good once, for three days."""
    from trueup.web.access import people
    from trueup.web.access.passwords import checked
    from trueup.web.access.roles import known_role

    wanted = known_role(role)
    password = None
    if password_stdin:
        password = checked(_from_stdin(), people.shaped_name(name))

    def change(store: Store, now: datetime) -> tuple[Person, str | None]:
        with store.write():
            one, token = people.add(store, name, wanted, now)
            if password is not None:
                return people.set_password(store, name, password, now), None
        return one, token

    _invited(ctx, config, change, at, as_json=as_json)


@users.command("invite", short_help="Make another link for somebody.")
def invite(ctx: typer.Context, name: Name, *, at: At = AT, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Make another link for somebody who lost theirs, or forgot the password; links of before are good no more."""
    from trueup.web.access import people

    _invited(ctx, config, lambda store, now: people.invite(store, name, now), at, as_json=as_json)


@users.command("password", short_help="Give somebody a password.")
def password_(ctx: typer.Context, name: Name, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Give somebody a password, asked for or read from stdin; it is never an argument. Sessions under the name are over."""
    from trueup.web.access import people

    given = _from_stdin()
    _changed(ctx, config, lambda store, now: people.set_password(store, name, given, now), "has another password", as_json=as_json)


@users.command("role", short_help="Change what somebody may do.")
def role_(ctx: typer.Context, name: Name, role: RoleName, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Change what somebody may do, at once, also where they are logged in. Keys of theirs can do no more than they can."""
    from trueup.web.access import people
    from trueup.web.access.roles import known_role

    wanted = known_role(role)
    _changed(ctx, config, lambda store, now: people.set_role(store, name, wanted, now), f"is {wanted} from now on", as_json=as_json)


@users.command("disable", short_help="Let somebody in no more.")
def disable(ctx: typer.Context, name: Name, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Let somebody in no more: sessions, links and keys are over at once. What they did stays theirs; nobody is ever removed."""
    from trueup.web.access import people

    _changed(ctx, config, lambda store, now: people.disable(store, name, now), "is disabled", as_json=as_json)


@users.command("enable", short_help="Let somebody in again.")
def enable(ctx: typer.Context, name: Name, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Let somebody in again who was disabled, with the role and the password of before."""
    from trueup.web.access import people

    _changed(ctx, config, lambda store, now: people.enable(store, name, now), "may enter again", as_json=as_json)


# ---------------------------------------------------------------- keys


@key.callback(invoke_without_command=True)
def keys(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Keys with which programs use the API for somebody. Without a further command they are listed."""
    config_path(ctx, config)
    if ctx.invoked_subcommand is None:
        _list_keys(ctx, as_json=as_json)


@key.command("list", short_help="Which keys there are.")
def list_keys(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the keys: whose, for what, until when, and when and from where they were last used. No key itself is ever shown again."""
    config_path(ctx, config)
    _list_keys(ctx, as_json=as_json)


def _list_keys(ctx: typer.Context, *, as_json: bool) -> None:
    from trueup.cli.shared import state_to_read
    from trueup.reports.table import table
    from trueup.store import api_key, person
    from trueup.web.access.keys import key_dict

    rows: list[dict[str, Any]] = []
    with workspace_of(ctx, None, connects=False) as workspace, state_to_read(workspace) as store:
        if store is not None:
            with store.read() as db:
                names = {one.id: one.name for one in person.list_(db)}
                rows = [key_dict(one, names[one.person], workspace.clock()) for one in api_key.list_(db)]
    if as_json:
        say_json(rows)
        return
    shown = [
        [row["id"], row["name"], row["person"], ", ".join(row["scopes"]), row["state"], row["expires_at"], row["used_at"] or "never"]
        for row in rows
    ]
    heads = ("id", "name", "acts for", "scopes", "", "until", "last used")
    say(table(heads, shown, style()) or "There are no keys: `trueup users key add` makes one.")


@key.command("add", short_help="Make a key.")
def add_key(
    ctx: typer.Context,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="For whom it acts.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What uses it.", show_default=False)],
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", metavar="SCOPE", help="read, decide, operate or administer; may be given several times.", show_default="read"
        ),
    ] = None,
    days: Days = 90,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key with which a program uses the API for somebody. It is printed once, and cannot be shown again."""
    from trueup.web.access import keys as all_keys

    with workspace_of(ctx, config, connects=False) as workspace:
        one, made = all_keys.make(workspace.store, person, name, scope or ["read"], days, workspace.clock())
        told = all_keys.key_dict(one, person, workspace.clock())
    _say_key(told, made, as_json=as_json)


@key.command("rotate", short_help="Give a key another secret.")
def rotate_key(
    ctx: typer.Context,
    number: Number,
    *,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="The one before is good no more; else it is for a day.", show_default=False)
    ] = False,
    days: Days = 90,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a key another secret; the one before is good for a day still, so that nothing stands still meanwhile."""
    from trueup.store import person
    from trueup.web.access import keys as all_keys

    with workspace_of(ctx, config, connects=False) as workspace:
        one, made = all_keys.rotate(workspace.store, number, days, workspace.clock(), at_once=at_once)
        with workspace.store.read() as db:
            owner = person.get(db, one.person)
        told = all_keys.key_dict(one, owner.name if owner is not None else "", workspace.clock())
    _say_key(told, made, as_json=as_json)


@key.command("revoke", short_help="Let a key open nothing any more.")
def revoke_key(ctx: typer.Context, number: Number, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Let a key open nothing any more, at once."""
    from trueup.web.access import keys as all_keys

    with workspace_of(ctx, config, connects=False) as workspace:
        one = all_keys.revoke(workspace.store, number, workspace.clock())
    if as_json:
        say_json({"revoked": one.id})
    else:
        say(f"The key {one.id} ({one.name}) opens nothing any more.")


def _say_key(told: dict[str, Any], made: str, *, as_json: bool) -> None:
    if as_json:
        say_json(told | {"key": made})
        return
    say(made)
    say(f"\nKey {told['id']} ({told['name']}) acts for {told['person']}: {', '.join(told['scopes'])}, until {told['expires_at']}.")
    say("It is not shown again. Programs send it as `Authorization: Bearer KEY`.")


# ---------------------------------------------------------------- parts


def _invited(
    ctx: typer.Context, config: Any, change: Callable[[Store, datetime], tuple[Person, str | None]], at: str, *, as_json: bool
) -> None:
    from trueup.web.access.people import person_dict

    with workspace_of(ctx, config, connects=False) as workspace:
        one, token = change(workspace.store, workspace.clock())
    link = None if token is None else f"{at.rstrip('/')}/setup?token={token}"
    if as_json:
        say_json(person_dict(one) | {"link": link})
    elif link is None:
        say(f"{one.name} may enter as {one.role}.")
    else:
        say(f"{one.name} may enter as {one.role}, once the password is chosen. This link is good once, for three days:\n\n{link}")


def _changed(ctx: typer.Context, config: Any, change: Callable[[Store, datetime], Person], words: str, *, as_json: bool) -> None:
    from trueup.web.access.people import person_dict

    with workspace_of(ctx, config, connects=False) as workspace:
        one = change(workspace.store, workspace.clock())
    if as_json:
        say_json(person_dict(one))
    else:
        say(f"{one.name} {words}.")


def _from_stdin() -> str:
    """A password, typed unseen on a terminal, or the first line of stdin."""
    if sys.stdin is not None and sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
