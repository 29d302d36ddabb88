"""A token server and an API behind it, as others have them: short tokens, refresh tokens that serve once, and whatever goes wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

CLIENT, SECRET = "trueup-client", "MARK-client-secret-0a/1b+2c"
Fault = Callable[[dict[str, str], Any], bool]


@dataclass
class Family:
    """What one person agreed to: the refresh token that counts now, and the one before it, which serves until `grace_until`."""

    scopes: str
    now: str
    before: str | None = None
    grace_until: float = 0.0
    revoked: bool = False


@dataclass
class OAuthServer:
    """`lifetime_s`, `grace_s` and `rotates` may be changed while it runs; `faults` are tried one per question until one has acted."""

    lifetime_s: float | None = 3600.0
    grace_s: float = 0.0
    rotates: bool = True
    agrees: bool = True
    granted: str | None = None  # scopes given instead of those asked for
    slow_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)  # every question at /token
    refreshes: list[str] = field(default_factory=list)  # answered ones
    reused: int = 0
    calls: list[tuple[str, int]] = field(default_factory=list)  # at /api: token and answer
    told: Callable[[str], object] = str  # hears of every token
    more: dict[str, str] = field(default_factory=dict)  # what else stands in an answer with a token
    robots: dict[str, Any] = field(default_factory=dict)  # service accounts: whose signature is looked at with which key
    device_polls: list[str] = field(default_factory=list)  # what they are answered before the token

    def __post_init__(self) -> None:
        self._turn = Lock()
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: dict[str, tuple[float, Family | None]] = {}
        self.families: list[Family] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                server.get(self)

            def do_POST(self) -> None:
                server.post(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, Any]:
        """What a configuration says of it."""
        return {
            "authorize_url": f"{self.url}/authorize",
            "token_url": f"{self.url}/token",
            "device_url": f"{self.url}/device",
            "revoke_url": f"{self.url}/revoke",
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scopes": ["read", "write"],
        }

    def give(self, scopes: str = "read write") -> dict[str, Any]:
        """A person has agreed: a first answer."""
        with self._turn:
            family = Family(scopes, self._new("rt"))
            self.families.append(family)
            return self._answer(family)

    def revoke_all(self) -> None:
        """Everybody takes back what they agreed to."""
        with self._turn:
            for family in self.families:
                family.revoked = True

    def _new(self, kind: str) -> str:
        return f"MARK-{kind}-{secrets.token_urlsafe(18)}"

    def _answer(self, family: Family | None) -> dict[str, Any]:
        access = self._new("at")
        self.told(access)
        self._tokens[access] = (time.monotonic() + (self.lifetime_s or 1e9), family)
        said: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "instance_url": self.url, **self.more}
        if self.lifetime_s is not None:
            said["expires_in"] = self.lifetime_s
        if family is not None:
            said |= {"refresh_token": family.now, "scope": self.granted or family.scopes}
        return said

    # -------------------------------------------------------------- pages

    def get(self, handler: Any) -> None:
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/authorize":
            code = self._new("code")
            self._codes[code] = query
            said = {"code": code} if self.agrees else {"error": "access_denied", "error_description": "The person said no."}
            self.reply(handler, 302, "", location=f"{query['redirect_uri']}?{urlencode({**said, 'state': query['state']})}")
            return
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        with self._turn:
            ends, family = self._tokens.get(token, (0.0, None))
            good = time.monotonic() < ends and not (family is not None and family.revoked)
            self.calls.append((token, 200 if good else 401))
        self.reply(handler, 200 if good else 401, json.dumps({"ok": good}))

    def post(self, handler: Any) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        path = urlsplit(handler.path).path
        if path == "/device":
            page = f"{self.url}/activate"
            said = {
                "device_code": self._new("device"),
                "user_code": "WDJB-MJHT",
                "verification_uri": page,
                "expires_in": 60,
                "interval": 0.05,
            }
            self.reply(handler, 200, json.dumps(said))
            return
        if path == "/revoke":
            self.revoke_all()
            self.reply(handler, 200, "")
            return
        self.asked.append(form)
        if self.slow_s:
            time.sleep(self.slow_s)
        if self.faults and self.faults.pop(0)(form, handler):
            return
        status, said = self.token(form, handler.headers.get("Authorization", ""))
        self.reply(handler, status, json.dumps(said))

    def token(self, form: dict[str, str], login: str) -> tuple[int, dict[str, Any]]:
        """What is answered to a question at /token."""
        if form["grant_type"].endswith("jwt-bearer"):
            return self._vouched(form["assertion"])
        name, _, password = base64.b64decode(login.removeprefix("Basic ")).decode().partition(":")
        if (unquote_plus(name), unquote_plus(password)) != (CLIENT, SECRET) and form.get("client_id") != "public":
            return 401, {"error": "invalid_client"}
        with self._turn:
            kind = form["grant_type"]
            if kind == "client_credentials":
                return 200, self._answer(None)
            if kind == "authorization_code":
                asked = self._codes.pop(form["code"], None)
                challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
                if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
                    return 400, {"error": "invalid_grant", "error_description": "This code is not known."}
                return 200, self._begun(asked.get("scope", ""))
            if kind.endswith("device_code"):
                if self.device_polls:
                    return 400, {"error": self.device_polls.pop(0)}
                return 200, self._begun("read write")
            return self._refreshed(form["refresh_token"])

    def _vouched(self, assertion: str) -> tuple[int, dict[str, Any]]:
        """A service account says who it is (RFC 7523)."""
        from joserfc import errors, jwt

        def refused(why: str) -> tuple[int, dict[str, Any]]:
            return 400, {"error": "invalid_grant", "error_description": why}

        claimed = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
        if claimed["iss"] not in self.robots:
            return refused("nobody known")
        try:
            claims = jwt.decode(assertion, self.robots[claimed["iss"]], algorithms=["RS256", "ES256"]).claims
        except (errors.JoseError, ValueError):
            return refused("the signature is not valid")
        if claims["aud"] != f"{self.url}/token":
            return refused("meant for somebody else")
        if not claims["iat"] <= time.time() + 5 < claims["exp"] + 5:
            return refused("it has ended")
        with self._turn:
            return 200, self._answer(None)

    def _begun(self, scopes: str) -> dict[str, Any]:
        family = Family(scopes, self._new("rt"))
        self.families.append(family)
        return self._answer(family)

    def _refreshed(self, token: str) -> tuple[int, dict[str, Any]]:
        for family in self.families:
            in_grace = token == family.before and time.monotonic() < family.grace_until
            if token == family.before and not in_grace:
                family.revoked = True  # a refresh token that comes twice was stolen (RFC 9700, 4.14)
                self.reused += 1
            if family.revoked or not (token == family.now or in_grace):
                continue
            self.refreshes.append(token)
            if self.rotates and not in_grace:
                family.before, family.now = family.now, self._new("rt")
                family.grace_until = time.monotonic() + self.grace_s
            return 200, self._answer(family)
        return 400, {"error": "invalid_grant", "error_description": "Token has been revoked."}

    def reply(self, handler: Any, status: int, body: str, **headers: str) -> None:
        """One answer."""
        handler.send_response(status)
        kind = "text/html" if body.startswith("<") else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body.encode())), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body.encode())


def answers(status: int, body: str = "", **headers: str) -> Fault:
    """One question is answered so, and nothing is done."""

    def fault(_form: dict[str, str], handler: Any) -> bool:
        OAuthServer.reply(None, handler, status, body, **headers)  # type: ignore[arg-type]
        return True

    return fault


def loses_answer(server: OAuthServer) -> Fault:
    """One question is acted upon, and the connection breaks before the answer."""

    def fault(form: dict[str, str], handler: Any) -> bool:
        server.token(form, handler.headers.get("Authorization", ""))
        handler.close_connection = True
        handler.connection.shutdown(2)
        return True

    return fault
