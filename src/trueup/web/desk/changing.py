"""The configuration file as it is changed from a browser or through the API: read, compared, tried as it would be, and put in place."""

from __future__ import annotations

import difflib
import hashlib
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.config.begin import load_or_begin
from trueup.config.load import load_config
from trueup.errors import ConfigError
from trueup.errors import Problem as Mistake
from trueup.web.access.asking import acting
from trueup.web.access.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.model import Config
    from trueup.web.access.user import User
    from trueup.web.desk.place import Place

CHANGED = "the configuration has changed since you looked"
UNWRITABLE = "the configuration cannot be written"


def text_of(place: Place) -> str:
    """The file as it is; empty where there is none yet. Raises Problem."""
    try:
        return Path(place.config.file).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(409, f"the configuration cannot be read: {type(error).__name__}", kind="unreadable") from error


def mark_of(text: str) -> str:
    """What is another one where the text is: the `etag` of the API."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def difference(before: str, after: str) -> str:
    """The lines that differ."""
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), "as it is", "as proposed")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


@contextmanager
def tried(place: Place, text: str, *, connects: bool = False) -> Iterator[tuple[Config, Path]]:
    """The configuration that a text would be, and a file that could take the place of the present one, which is removed afterwards.

    Raises ConfigError with every problem, and Problem where the file cannot be written, or names another state.
    """
    present = Path(place.config.file)
    fresh = _written(present, text)
    try:
        try:
            found = load_config(str(fresh), connects=connects)
        except ConfigError as error:
            raise ConfigError([_of_file(one, fresh, present) for one in error.problems]) from None
        if found.state != place.config.state:
            raise Problem(
                422, "it names another state", kind="not-valid", hint="stop `serve`, change `state:` in the file, and start it again"
            )
        yield found, fresh
    finally:
        fresh.unlink(missing_ok=True)


def save(place: Place, user: User, before: str, text: str, why: str = "") -> None:
    """Put a text in place of `before`, and take it up. Raises ConfigError, and Problem where somebody else has changed the file since."""
    with place.changing:
        with tried(place, text) as (_found, fresh):
            if text_of(place) != before:
                raise Problem(412, CHANGED, kind="changed", hint="look at it again")
            if before:
                _replaced(fresh, Path(place.config.file))
            else:
                _begun(fresh, Path(place.config.file))
        place.config = load_or_begin(place.config.file, connects=False)
        place.turn += 1
    with acting(user, "config apply", why=why, config=place.config), place.store.write():
        pass  # the trail says which paths have changed
    place.changed()


def _replaced(fresh: Path, target: Path) -> None:
    try:
        fresh.replace(target)
    except OSError as error:
        raise Problem(409, UNWRITABLE, kind="unwritable", hint="its folder must allow it") from error


def _begun(fresh: Path, target: Path) -> None:
    """The first file of a project: one that somebody else has written meanwhile stays."""
    with suppress(FileNotFoundError):
        if not target.read_bytes():
            target.unlink()
    try:
        os.link(fresh, target)
    except FileExistsError as error:
        raise Problem(412, CHANGED, kind="changed", hint="look at it again") from error
    except OSError as error:
        raise Problem(409, UNWRITABLE, kind="unwritable", hint="its folder must allow it") from error


def _written(present: Path, text: str) -> Path:
    """A file beside the present one, with its rights. Raises Problem."""
    fresh = present.with_name(f".{present.name}.{secrets.token_hex(6)}")
    try:
        mode = present.stat().st_mode & 0o777 if present.exists() else 0o644
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, UnicodeEncodeError) as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise Problem(409, UNWRITABLE, kind="unwritable", hint="its folder must allow it") from error
    return fresh


def _of_file(one: Mistake, fresh: Path, present: Path) -> Mistake:
    def named(text: str) -> str:
        return text.replace(str(fresh), str(present)).replace(fresh.name, present.name)

    return Mistake(named(one.file), one.line, one.path, named(one.message), named(one.hint))
