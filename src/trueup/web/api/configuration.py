"""The configuration: the file as it is, what a change would make of it, and the change, with comments kept as they are written."""

from __future__ import annotations

import difflib
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from fastapi import APIRouter
from pydantic import Field, StrictStr
from starlette.responses import Response

from trueup.config.load import load_config
from trueup.errors import ConfigError
from trueup.errors import Problem as Mistake
from trueup.model import Config
from trueup.web.access.problems import Problem
from trueup.web.api.deciding import Body
from trueup.web.api.parts import Admin, Here, Matching, Once, Why, answer, done_for, must_match
from trueup.web.desk.place import Place

router = APIRouter(prefix="/api/v1", route_class=Once, tags=["configuration"])
MOST_CHARACTERS = 2_000_000


class Text(Body):
    """The whole file as it is to be."""

    text: StrictStr = Field(max_length=MOST_CHARACTERS)


@router.get("/config", summary="The configuration file")
def read(user: Admin, here: Here) -> Response:
    """Its text, which may hold passwords where somebody wrote them there, and the `etag` for a change."""
    with done_for(user, here, "config"), here.store.write():
        pass  # whoever looks at it is told in the audit trail
    text = _text(here)
    return answer({"file": here.config.file, "text": text, "etag": _etag(text)}, headers={"etag": f'"{_etag(text)}"'})


@router.post("/config/propose", summary="What a change would be: the difference, or what is wrong with it")
def propose(user: Admin, here: Here, said: Text) -> Response:
    """Changes nothing. 422 with every problem, each with its line, where the file could not be used."""
    del user
    before = _text(here)
    _written(here, said.text).unlink()
    return answer({"diff": _difference(before, said.text), "etag": _etag(before)})


@router.put("/config", summary="Change the configuration file")
def apply(user: Admin, here: Here, said: Text, *, match: Matching = None, why: Why = "") -> Response:
    """Needs `If-Match` with the `etag` that was read: 412 where somebody has changed it since. `serve` takes it up at its next start."""
    if match is None:
        raise Problem(428, "say with If-Match which file you have changed", kind="precondition", hint="GET /api/v1/config gives the etag")
    with here.changing:
        before = _text(here)
        must_match(match, _etag(before), "the configuration")
        fresh = _written(here, said.text)
        try:
            if _text(here) != before:
                raise Problem(412, "the configuration has changed since you looked", kind="changed", hint="look at it again")
            fresh.replace(here.config.file)
        finally:
            fresh.unlink(missing_ok=True)
        here.config = load_config(here.config.file, connects=False)
    with done_for(user, here, "config apply", why), here.store.write():
        pass  # the trail says which paths have changed
    return answer({"diff": _difference(before, said.text), "etag": _etag(said.text)})


def _text(here: Place) -> str:
    try:
        return Path(here.config.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(409, f"the configuration cannot be read: {type(error).__name__}", kind="unreadable") from error


def _written(here: Place, text: str) -> Path:
    """A file beside the present one, with its rights, that could take its place. Raises ConfigError with every problem."""
    present = Path(here.config.file)
    fresh = present.with_name(f".{present.name}.{secrets.token_hex(6)}")
    try:
        mode = present.stat().st_mode & 0o777
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, UnicodeEncodeError) as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise Problem(409, "the configuration cannot be written", kind="unwritable", hint="its folder must allow it") from error
    try:
        found: Config = load_config(str(fresh), connects=False)
    except ConfigError as error:
        fresh.unlink()
        raise ConfigError([_of_file(one, fresh, present) for one in error.problems]) from None
    if found.state != here.config.state:
        fresh.unlink()
        raise Problem(422, "it names another state", kind="not-valid", hint="stop `serve`, change `state:` in the file, and start it again")
    return fresh


def _of_file(one: Mistake, fresh: Path, present: Path) -> Mistake:
    def named(text: str) -> str:
        return text.replace(str(fresh), str(present)).replace(fresh.name, present.name)

    return Mistake(named(one.file), one.line, one.path, named(one.message), named(one.hint))


def _etag(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), "as it is", "as proposed")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
