"""Logging in, logging out, and choosing a password by a link: the only pages without a login. They need no script."""

from __future__ import annotations

import asyncio
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from trueup.errors import UsageError
from trueup.web.access import people, sessions
from trueup.web.access.asking import current_user
from trueup.web.access.guard import ADDRESS, COOKIE, SECURE, SECURE_COOKIE
from trueup.web.access.passwords import LONGEST, SHORTEST
from trueup.web.desk.place import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.web.access.sessions import LoggedIn

router = APIRouter(include_in_schema=False)
MOST_BYTES = 16 * 1024
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #f6f8fb; --box: #fff; --line: #8a94a6; --deed: #1f5fbf; --quiet: #5b6675;
  --warn: #9a3412; --on: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf2; --paper: #12161d; --box: #1b212b; --line: #7b8698; --deed: #8ab4f8;
  --quiet: #a9b3c2; --warn: #ffb59a; --on: #10151d; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0; min-height: 100vh; display: grid;
  place-items: center; padding: 1rem; }
main { width: 100%; max-width: 24rem; background: var(--box); border-radius: .75rem; padding: 1.75rem; box-shadow: 0 1px 6px #0003; }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 0 0 .25rem; } p { margin: .25rem 0 1rem; color: var(--quiet); }
label { display: block; font-weight: 600; margin: .9rem 0 .25rem; }
input { font: inherit; width: 100%; padding: .55rem .7rem; color: inherit; background: transparent; border: 1px solid var(--line);
  border-radius: .4rem; }
button { font: inherit; font-weight: 600; width: 100%; margin-top: 1.4rem; padding: .6rem; border: 0; border-radius: .4rem; cursor: pointer;
  background: var(--deed); color: var(--on); }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid var(--deed); outline-offset: 2px; }
.warn { color: var(--warn); font-weight: 600; } small { color: var(--quiet); } a { color: var(--deed); }
"""
WRONG = "Name or password is not right."


@router.get("/login")
async def login_page(request: Request) -> Response:
    """The page to log in, or the way on for whoever is logged in."""
    if current_user(request) is not None:
        return RedirectResponse(_onward(request.query_params.get("next", "/")), 303)
    return _login(request.query_params.get("next", "/"))


@router.post("/login")
async def login(request: Request) -> Response:
    """Log in."""
    form = await _form(request)
    place = place_of(request)
    name, password, onward = form.get("name", ""), form.get("password", ""), form.get("next", "/")
    found = await asyncio.to_thread(sessions.log_in, place.store, name, password, request.scope[ADDRESS], place.clock())
    if isinstance(found, sessions.NotLoggedIn):
        if found.wait_s is None:
            return _login(onward, name, WRONG, 401)
        minutes = max(1, found.wait_s // 60)
        answer = _login(onward, name, f"Too many logins have failed. Try again in {minutes} minutes.", 429)
        answer.headers["retry-after"] = str(found.wait_s)
        return answer
    return _entered(request, found, _onward(onward))


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Log out."""
    place, user = place_of(request), current_user(request)
    if user is not None:
        await asyncio.to_thread(sessions.log_out, place.store, user, place.clock())
    answer = RedirectResponse("/login", 303)
    for name in (COOKIE, SECURE_COOKIE):
        answer.delete_cookie(name, path="/", secure=name == SECURE_COOKIE, httponly=True, samesite="lax")
    answer.headers["clear-site-data"] = '"cache", "storage"'
    return answer


@router.get("/setup")
async def setup_page(request: Request) -> Response:
    """The page of a link, on which a password is chosen."""
    place, given = place_of(request), request.query_params.get("token", "")

    def look() -> tuple[str | None, str] | None:
        with place.store.read() as db:
            return people.invited(db, given, place.clock())

    found = await asyncio.to_thread(look)
    if found is None:
        return _page("This link is not good any more", "It was used, or has run out. An admin makes another one.", [], status=410)
    return _setup(given, found[0])


@router.post("/setup")
async def setup(request: Request) -> Response:
    """Choose the password, and be logged in."""
    form = await _form(request)
    place, given, password = place_of(request), form.get("token", ""), form.get("password", "")

    def look() -> tuple[str | None, str] | None:
        with place.store.read() as db:
            return people.invited(db, given, place.clock())

    found = await asyncio.to_thread(look)
    if found is not None and password != form.get("again", ""):
        return _setup(given, found[0], form.get("name", ""), "The two passwords differ: type the same one twice.", 422)
    try:
        known = await asyncio.to_thread(people.accept, place.store, given, form.get("name"), password, place.clock())
    except UsageError as error:
        if found is None:
            return _page("This link is not good any more", error.message, [], status=410)
        return _setup(given, found[0], form.get("name", ""), str(error), 422)
    entered = await asyncio.to_thread(sessions.log_in, place.store, known.name, password, request.scope[ADDRESS], place.clock())
    if isinstance(entered, sessions.NotLoggedIn):
        return RedirectResponse("/login", 303)
    return _entered(request, entered, "/")


def _entered(request: Request, found: LoggedIn, onward: str) -> Response:
    answer = RedirectResponse(onward, 303)
    secure = bool(request.scope[SECURE])
    name, age = SECURE_COOKIE if secure else COOKIE, int(sessions.LONGEST.total_seconds())
    answer.set_cookie(name, found.token, max_age=age, path="/", secure=secure, httponly=True, samesite="lax")
    return answer


def _onward(path: str) -> str:
    """Where to go on after the login: a path of this server, whatever somebody wrote there."""
    if not path.startswith("/") or path.startswith(("//", "/login", "/setup")) or "\\" in path or not path.isprintable():
        return "/"
    return path


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name; nothing of one that is too long, or is none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return {}
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {}
    try:
        found = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError:
        return {}
    return {name: values[-1] for name, values in found.items()}


def _login(onward: str, name: str = "", trouble: str = "", status: int = 200) -> Response:
    fields = [
        _field("name", "Name", f'value="{escape(name[: people.LONGEST_NAME])}" autocomplete="username" autocapitalize="none" autofocus'),
        _field("password", "Password", f'type="password" autocomplete="current-password" maxlength="{LONGEST}"'),
        f'<input type="hidden" name="next" value="{escape(_onward(onward))}">',
        '<button type="submit">Log in</button>',
    ]
    return _page("Log in to trueup", "", fields, trouble, action="/login", status=status)


def _setup(given: str, known: str | None, name: str = "", trouble: str = "", status: int = 200) -> Response:
    limits = f'type="password" autocomplete="new-password" minlength="{SHORTEST}" maxlength="{LONGEST}" aria-describedby="rule"'
    shown = f'value="{escape(known)}" readonly autocomplete="username"' if known else ""
    typed = f'value="{escape(name[: people.LONGEST_NAME])}" autocomplete="username" autocapitalize="none" autofocus'
    fields = [
        _field("name", "Name", shown or typed),
        _field("password", "Password", limits),
        f'<small id="rule">At least {SHORTEST} characters: a few words that nobody would guess.</small>',
        _field("again", "The same again", limits),
        f'<input type="hidden" name="token" value="{escape(given[:100])}">',
        '<button type="submit">Keep it and go in</button>',
    ]
    words = "Choose a password." if known else "You are the first here: choose a name and a password. You can let others in afterwards."
    return _page("Welcome to trueup", words, fields, trouble, action="/setup", status=status)


def _field(name: str, label: str, more: str) -> str:
    kind = "" if "type=" in more else ' type="text"'
    return f'<label for="{name}">{label}</label><input id="{name}" name="{name}"{kind} required {more}>'


def _page(title: str, words: str, fields: Sequence[str], trouble: str = "", *, action: str = "", status: int = 200) -> Response:
    told = f'<p class="warn" role="alert">{escape(trouble)}</p>' if trouble else ""
    form = f'<form method="post" action="{action}">{"".join(fields)}</form>' if fields else '<p><a href="/login">Log in</a></p>'
    body = f"<h1>{escape(title)}</h1>{f'<p>{escape(words)}</p>' if words else ''}{told}{form}"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
    text = f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body><main>{body}</main></body></html>'
    return HTMLResponse(text, status)
