"""`trueup keys`: the master key, under which secrets and an encrypted state are sealed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.secrets import begin, vault_of
from trueup.cli.shared import NEEDS_PERSON, AsJson, ConfigFile, complain, config_path, leave, noted, say, say_json, style

if TYPE_CHECKING:
    from trueup.config.secrets import StatePlace
    from trueup.store.encryption import FileKey

keys = typer.Typer(rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(keys, name="keys", short_help="The master key, and what is sealed under it.")


@keys.callback(invoke_without_command=True)
def list_(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show where the master keys are and which are in use, by their ids; no key is shown.

    Exit status 3: something is sealed under a master key that is not there.
    """
    from trueup.config.secrets import read_state_place
    from trueup.reports.table import table
    from trueup.sealing import MasterKeys

    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    place = read_state_place(config_path(ctx, None))
    held = MasterKeys(place.master_key).all()
    needed = _needed(place)
    encrypted = bool(_file_keys(place))
    rows = [{"id": key.id, "current": number == 0, "needed": key.id in needed, "held": True} for number, key in enumerate(held)]
    rows += [{"id": lost, "current": False, "needed": True, "held": False} for lost in sorted(needed - {key.id for key in held})]
    if as_json:
        say_json({"place": str(place.master_key), "keys": rows, "state_encrypted": encrypted})
    else:
        say(f"Master keys are in {place.master_key}.")
        shown = [[row["id"], "seals" if row["current"] else "opens" if row["held"] else "MISSING", _use(row)] for row in rows]
        say(table(["key", "", "this state"], shown, style()) or "There is none: `trueup keys new` makes one.")
        if encrypted:
            say("The state's file is encrypted.")
    leave(0 if all(row["held"] for row in rows) else NEEDS_PERSON)


def _noted(ctx: typer.Context, place: StatePlace) -> None:
    """Let the audit trail say what was done with the state's file."""
    from trueup.store import Store

    begin(ctx)
    with Store.open(place.target) as store, store.write():
        pass  # the line of the command goes with any transaction


def _file_keys(place: StatePlace) -> list[FileKey]:
    """The keys of the state's own files, where it is in files."""
    from trueup.store import encryption, engine

    if engine.backend_of(place.target) != "sqlite":
        return []
    return [key for path in encryption.files_of(Path(place.target)) for key in encryption.file_keys(path)]


def _needed(place: StatePlace) -> set[str]:
    """The ids of the master keys without which something of this state does not open, as far as that can be seen."""
    from trueup.errors import MasterKeyError

    needed = {key.master for key in _file_keys(place)}
    try:
        with vault_of(place, change=False) as vault:
            return needed | (vault.masters_needed() if vault is not None else set())
    except MasterKeyError:
        if not needed:
            raise
        return needed  # what is inside cannot be seen


def _use(row: dict[str, object]) -> str:
    return "needs it" if row["needed"] else "does not need it"


@keys.command("new", short_help="Make a master key.")
def new(
    ctx: typer.Context,
    *,
    print_: Annotated[bool, typer.Option("--print", help="Only print it; keep it nowhere.", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a master key where `master_key:` says, if that is a file or the keyring; else print one, to be put there by hand.

    Keep a copy in a safe, away from the state and its backups: without it, what is sealed can never be opened again.
    """
    from trueup.sealing import MasterKeys, new_key
    from trueup.sealing.sources import is_writable

    if not print_:
        from trueup.config.secrets import read_state_place

        place = read_state_place(config_path(ctx, config)).master_key
        if is_writable(place):
            made = MasterKeys(place).add(first=False)
            if as_json:
                say_json({"place": str(place), "id": made.id})
            else:
                say(f"Made the master key {made.id} in {place}. Keep a copy in a safe, away from the state and its backups.")
            return
        complain(f"put this into {place}, before a key that is there already:")
    printed = new_key()
    if as_json:
        say_json({"key": printed.text, "id": printed.id})
    else:
        say(printed.text)


@keys.command("rotate", short_help="Put a new master key in place of the current one.")
def rotate(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Make a new master key, and seal everything in this state under it. The former one stays, for other states and for backups.

    From an environment variable or a command, the first key that it gives is the new one: put it there before the former one, then run
    this. It may be done while a run is at work; where it was interrupted, run it again.
    """
    from trueup.config.secrets import read_state_place
    from trueup.sealing import MasterKeys
    from trueup.sealing.sources import is_writable
    from trueup.store import encryption

    place = read_state_place(config_path(ctx, config))
    masters = MasterKeys(place.master_key)
    before = masters.current()
    with vault_of(place, change=False) as found:
        if found is not None:
            found.check_keys()
    for path in encryption.files_of(Path(place.target)):
        encryption.check_keys(path, masters)
    needed = _needed(place)
    half_way = bool(needed - {before.id})
    if is_writable(place.master_key) and not half_way:
        masters.add()
    sealed = 0
    if found is not None:
        begin(ctx, key=masters.current().id)
        with vault_of(place, change=True) as vault:
            assert vault is not None
            sealed = vault.rewrap()
    sealed += sum(encryption.rewrap(path, masters) for path in encryption.files_of(Path(place.target)))
    masters.look_again()
    current = masters.current()
    former = [key.id for key in masters.all()[1:]]
    if as_json:
        say_json({"place": str(place.master_key), "id": current.id, "sealed": sealed, "former": former})
        return
    if current.id == before.id and not sealed:
        say(f"Nothing to do: everything is sealed under {current.id}, the first key in {place.master_key}.")
        say("For another one, put what `trueup keys new` prints there before it, and run this again.")
        return
    say(f"The master key is {current.id} now; keep a copy in a safe.")
    if former:
        say(f"Former ones stay in {place.master_key}, for other states and for backups: {', '.join(former)}.")
        say("`trueup keys forget ID` takes one out.")


@keys.command("forget", short_help="Take a former master key out.")
def forget(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `trueup keys` shows it.", show_default=False)],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a former master key out of its file or keyring. What other states and backups hold under it does not open any more."""
    from trueup.config.secrets import read_state_place
    from trueup.sealing import MasterKeys

    place = read_state_place(config_path(ctx, config))
    MasterKeys(place.master_key).forget(key, _needed(place))
    begin(ctx, key=key)
    noted(place.target)
    if as_json:
        say_json({"forgotten": key})
    else:
        say(f"Forgot the master key {key}.")


@keys.command("encrypt", short_help="Encrypt the state's file.")
def encrypt(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Encrypt the state's file with SQLCipher, under a key of its own, which is sealed under the master key in `STATE.key` beside it.

    A state that is not there yet is made encrypted; one that is encrypted already is put under a new key. No other command may be at work.
    """
    from trueup.config.secrets import read_state_place
    from trueup.sealing import MasterKeys
    from trueup.store import convert, encryption

    place = read_state_place(config_path(ctx, config))
    convert.encrypt(place.target, MasterKeys(place.master_key), datetime.now(UTC))
    _noted(ctx, place)
    key_file = encryption.key_file(Path(place.target))
    if as_json:
        say_json({"encrypted": True, "state": place.target, "key_file": str(key_file)})
    else:
        say(f"The state {place.target} is encrypted. Keep {key_file} with it, and the master key away from both.")


@keys.command("decrypt", short_help="Put the state's file into the clear.")
def decrypt(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Put an encrypted state's file into the clear. No other command may be at work."""
    from trueup.config.secrets import read_state_place
    from trueup.store import convert

    place = read_state_place(config_path(ctx, config))
    done = convert.decrypt(place.target, datetime.now(UTC))
    if done:
        _noted(ctx, place)
    if as_json:
        say_json({"encrypted": False, "state": place.target})
    else:
        say(f"The state {place.target} is {'in the clear now' if done else 'in the clear, as it was'}.")
