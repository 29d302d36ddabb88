"""Asks a CardDAV server: WebDAV's methods, their answers in XML, and where its address books are (RFC 6352, RFC 6764, RFC 6578)."""

from __future__ import annotations

import fnmatch
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx2
from lxml import etree

from trueup.errors import (
    AccessRefusedError,
    ObjectMissingError,
    ObjectUnreadableError,
    SystemError_,
    SystemUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

DAV = "{DAV:}"
CARD = "{urn:ietf:params:xml:ns:carddav}"
_XMLNS = 'xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"'
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_BUSY = {429, 502, 503, 504}
_ATTEMPTS = 3
_MOST_WAIT_S = 20.0
_WELL_KNOWN = "/.well-known/carddav"
_PLAIN_NAME = "-._~!$&'()*+,;=:@"
AT_ONCE = 100
"""So many cards are asked for in one request."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def reason(self) -> str:
        """Why it refuses, in its own words: the condition it names (RFC 4918, section 16), else its text."""
        said = ""
        if self.body.lstrip()[:1] == b"<":
            try:
                root = _tree(self.body)
            except etree.XMLSyntaxError:
                root = None
            if root is not None and root.tag == f"{DAV}error":
                said = ", ".join(etree.QName(child).localname for child in root if isinstance(child.tag, str))
        elif self.body and "text/plain" in self.headers.get("content-type", ""):
            said = self.body[:200].decode("utf-8", "replace").strip()
        return f"status {self.status}" + (f": {said}" if said else "")


@dataclass(frozen=True, slots=True)
class Part:
    """One resource of a multistatus answer: its path, its status where it has none of its properties, those that it has."""

    path: str
    status: int
    props: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """A property's text; None where it has none."""
        found = self.props.get(name)
        return None if found is None or found.text is None else str(found.text)

    def has(self, name: str, inner: str) -> bool:
        """Whether a property holds an element, as `resourcetype` does."""
        found = self.props.get(name)
        return found is not None and found.find(inner) is not None


@dataclass(slots=True)
class Book:
    """One address book. `path` ends with a slash; `shown` is the name that people see."""

    name: str
    path: str
    shown: str = ""
    remarks: list[str] = field(default_factory=list)


class Dav:
    """One server, which several threads may ask at once. Nothing is connected before the first question."""

    def __init__(
        self,
        system: str,
        url: str,
        user: str | None,
        password: str | None,
        *,
        hosts: Sequence[str] = (),
        timeout_s: float = 60.0,
        connections: int = 4,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`hosts` are further hosts that may get the password, by name or pattern; `wait` lets time pass."""
        self.system = system
        self._url = url
        self._origin = _origin(url)
        self._auth = None if user is None else httpx2.BasicAuth(user, password or "")
        self._hosts = tuple(hosts)
        self._timeout_s = timeout_s
        self._connections = connections
        self._wait = wait
        self._client: httpx2.Client | None = None

    def close(self) -> None:
        """Give back the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # ---------------------------------------------------------------- questions

    def propfind(self, path: str, names: Sequence[str], *, depth: int = 0) -> list[Part]:
        """Properties of a resource, and at depth 1 of those in it."""
        return self.parts(self._propfind(path, names, depth), path)

    def _propfind(self, path: str, names: Sequence[str], depth: int) -> Reply:
        wanted = "".join(f"<{_prefixed(name)}/>" for name in names)
        body = f"<D:propfind {_XMLNS}><D:prop>{wanted}</D:prop></D:propfind>"
        return self.ask("PROPFIND", path, body, {"depth": str(depth)})

    def parts(self, reply: Reply, path: str) -> list[Part]:
        """The resources of a multistatus answer. Raises what `error` says where it is another answer."""
        if reply.status != 207:
            raise self.error(reply, path)
        try:
            root = _tree(reply.body)
        except etree.XMLSyntaxError as error:
            raise ObjectUnreadableError(
                f"the answer about {path} is no XML: {error.msg}", hint="is this the address of a CardDAV server?", system=self.system
            ) from None
        return [_part(answer, reply.url) for answer in root.findall(f"{DAV}response")]

    def cards(self, book: Book, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Name of a card -> its ETag and its text, of those that are there."""
        wanted = list(dict.fromkeys(names))
        found: dict[str, tuple[str, str]] = {}
        for start in range(0, len(wanted), AT_ONCE):
            hrefs = "".join(f"<D:href>{_xml(book.path + quoted(name))}</D:href>" for name in wanted[start : start + AT_ONCE])
            body = f"<C:addressbook-multiget {_XMLNS}><D:prop><D:getetag/><C:address-data/></D:prop>{hrefs}</C:addressbook-multiget>"
            for part in self.parts(self.ask("REPORT", book.path, body, {"depth": "1"}), book.path):
                name, etag, text = self.name_in(book, part.path), part.text(f"{DAV}getetag"), part.text(f"{CARD}address-data")
                if name is not None and part.status < 300 and text is not None:
                    if not etag:
                        raise ObjectUnreadableError(
                            "the server gives cards no ETag", hint="nothing can be written safely", system=self.system
                        )
                    found[name] = (etag, text)
        return found

    def names(self, book: Book) -> dict[str, str]:
        """Name -> ETag of all cards."""
        found = {}
        for part in self.propfind(book.path, (f"{DAV}getetag", f"{DAV}getcontenttype", f"{DAV}resourcetype"), depth=1):
            name = self.name_in(book, part.path)
            kind = part.text(f"{DAV}getcontenttype")
            if name and not part.has(f"{DAV}resourcetype", f"{DAV}collection") and (kind is None or "vcard" in kind.lower()):
                found[name] = part.text(f"{DAV}getetag") or ""
        return found

    def token(self, book: Book) -> str | None:
        """The name of this moment in the life of a book; None where the server gives none."""
        found = self.propfind(book.path, (f"{DAV}sync-token",))
        return found[0].text(f"{DAV}sync-token") if found else None

    def changes(self, book: Book, token: str) -> tuple[dict[str, bool], str] | None:
        """Name -> whether the card is there, of all touched since a moment, and the name of this one.

        None where the server has forgotten that moment (RFC 6578, `valid-sync-token`), or cannot tell.
        """
        found: dict[str, bool] = {}
        while True:
            body = (
                f"<D:sync-collection {_XMLNS}><D:sync-token>{_xml(token)}</D:sync-token><D:sync-level>1</D:sync-level>"
                "<D:prop><D:getetag/></D:prop></D:sync-collection>"
            )
            reply = self.ask("REPORT", book.path, body, {"depth": "0"})
            if reply.status in {400, 403, 405, 409, 410, 412, 415, 422, 501, 507}:
                return None
            cut = False
            for part in self.parts(reply, book.path):
                name = self.name_in(book, part.path)
                if name:
                    found[name] = part.status < 300
                elif name == "" and part.status == 507:
                    cut = True  # there is more, to be asked for from the token that came with it
            now = _tree(reply.body).findtext(f"{DAV}sync-token")
            if not now:
                return None
            if not cut or now == token:
                return found, str(now)
            token = str(now)

    def name_in(self, book: Book, path: str) -> str | None:
        """The name of a card by its path; empty for the book itself, None for what is not in it."""
        own = unquote(book.path)
        whole = unquote(path)
        if whole.rstrip("/") == own.rstrip("/"):
            return ""
        return unquote(path[len(book.path) :]) if path.startswith(book.path) else whole[len(own) :] if whole.startswith(own) else None

    # ---------------------------------------------------------------- where the books are

    def books(self) -> tuple[list[Book], str | None]:
        """All address books that the address leads to, and the path of the collection that holds them (None: it is a book itself)."""
        path = self._start()
        first = self._principal(path)
        if first.has(f"{DAV}resourcetype", f"{CARD}addressbook"):
            return [self._book(first)], None
        home = _inner(first, f"{CARD}addressbook-home-set")
        if home is None:
            user = _inner(first, f"{DAV}current-user-principal")
            found = self._principal(self._led(user)) if user else None
            home = _inner(found, f"{CARD}addressbook-home-set") if found is not None else None
        if home is None:
            raise ObjectUnreadableError(
                f"no address books are found at {self._url}",
                hint="give the address of the server, of your account on it, or of one address book",
                system=self.system,
            )
        home = self._led(home)
        inside = self.propfind(home, (f"{DAV}resourcetype", f"{DAV}displayname"), depth=1)
        return [self._book(part) for part in inside if part.has(f"{DAV}resourcetype", f"{CARD}addressbook")], home

    def make_book(self, home: str, name: str) -> None:
        """Make an address book (RFC 5689)."""
        body = (
            f"<D:mkcol {_XMLNS}><D:set><D:prop><D:resourcetype><D:collection/><C:addressbook/></D:resourcetype>"
            f"<D:displayname>{_xml(name)}</D:displayname></D:prop></D:set></D:mkcol>"
        )
        path = f"{home.rstrip('/')}/{quoted(name)}/"
        reply = self.ask("MKCOL", path, body, {})
        if reply.status not in {200, 201}:
            raise self.error(reply, path)

    def _start(self) -> str:
        """The path to begin at: what is given, unless nothing is there; then where the server says (RFC 6764)."""
        path = urlsplit(self._url).path or "/"
        if path != "/":
            return path
        reply = self._propfind(_WELL_KNOWN, (f"{DAV}current-user-principal",), 0)
        return self._led(urlsplit(reply.url).path, reply.url) if reply.status == 207 else path

    def _principal(self, path: str) -> Part:
        names = (f"{DAV}resourcetype", f"{DAV}displayname", f"{DAV}current-user-principal", f"{CARD}addressbook-home-set")
        found = self.propfind(path, names)
        if not found:
            raise ObjectUnreadableError(f"the server says nothing about {path}", hint="check the address", system=self.system)
        return found[0]

    def _led(self, href: str, whole: str = "") -> str:
        """The path that an answer leads to; another host becomes the one that is asked from now on, where that is allowed."""
        target = whole or urljoin(self._origin, href)
        self._allow(target)
        self._origin = _origin(target)
        return urlsplit(target).path

    def _book(self, part: Part) -> Book:
        path = part.path if part.path.endswith("/") else part.path + "/"
        return Book(unquote(path.rstrip("/").rpartition("/")[2]), path, part.text(f"{DAV}displayname") or "")

    # ---------------------------------------------------------------- one request

    def ask(self, method: str, path: str, body: str | bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """The answer, whatever it says. A server that is busy is asked again a few times, where asking twice does no harm.

        Raises SystemUnreachableError, AccessRefusedError.
        """
        harmless = method in {"PROPFIND", "REPORT", "GET"}
        attempt = 0
        while True:
            attempt += 1
            try:
                reply = self._followed(method, path, body, dict(headers or {}))
            except SystemUnreachableError:
                if not harmless or attempt >= _ATTEMPTS:
                    raise
                self._wait(0.5 * attempt)
                continue
            if reply.status in _BUSY and attempt < _ATTEMPTS and (harmless or reply.status in {429, 503}):
                self._wait(_wait_s(reply, attempt))
                continue
            if reply.status == 401:
                raise AccessRefusedError("the server refuses user or password", hint="check `user` and `password`", system=self.system)
            if reply.status in _BUSY or reply.status == 500:
                raise SystemUnreachableError(
                    f"the server cannot answer now ({reply.reason})", hint="it is tried again later", system=self.system
                )
            return reply

    def _followed(self, method: str, path: str, body: str | bytes, headers: dict[str, str]) -> Reply:
        url = urljoin(self._origin, path)
        content = body.encode() if isinstance(body, str) else body
        if content and "content-type" not in headers:
            headers["content-type"] = "application/xml; charset=utf-8"
        for _ in range(_MOST_REDIRECTS):
            reply = self._sent(method, url, content, headers)
            target = reply.headers.get("location")
            if reply.status not in _REDIRECTS or target is None:
                return reply
            url = urljoin(url, target)
            self._allow(url)
        raise ObjectUnreadableError("it sends from one address to the next without end", hint="check `url`", system=self.system)

    def _allow(self, url: str) -> None:
        """Raise AccessRefusedError where the password would go to somebody else."""
        parts = urlsplit(url)
        same = _origin(url) == self._origin or (parts.hostname == urlsplit(self._origin).hostname and parts.scheme == "https")
        if same or (parts.scheme == "https" and any(fnmatch.fnmatch(parts.hostname or "", host) for host in self._hosts)):
            return
        raise AccessRefusedError(
            f"the server leads to {parts.scheme}://{parts.netloc}, which is not to get the password",
            hint=f"where it should, add it: hosts: [{parts.hostname}]; only https is allowed there",
            system=self.system,
        )

    def _sent(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Reply:
        if self._client is None:
            self._client = httpx2.Client(
                timeout=httpx2.Timeout(self._timeout_s, connect=min(15.0, self._timeout_s)),
                limits=httpx2.Limits(max_connections=self._connections + 2, max_keepalive_connections=self._connections + 2),
                headers={"user-agent": "trueup"},
                follow_redirects=False,
                verify=url.startswith("https:") or bool(self._hosts),
                auth=self._auth,
            )
        try:
            answer = self._client.request(method, url, content=content, headers=dict(headers))
        except httpx2.TransportError as error:
            raise self._broken(error, url) from error
        except (httpx2.InvalidURL, httpx2.DecodingError, ValueError) as error:
            raise ObjectUnreadableError(
                f"{method} {urlsplit(url).path} cannot be asked: {error}", hint="check `url`", system=self.system
            ) from error
        return Reply(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content, url)

    def _broken(self, error: Exception, url: str) -> SystemError_:
        host = urlsplit(url).netloc
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return AccessRefusedError(
                    f"the certificate of {host} is not valid: {cause.verify_message}", hint="nothing was sent", system=self.system
                )
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
            return SystemUnreachableError(
                f"{host} did not answer within {self._timeout_s:g} s", hint="it is tried again later", system=self.system
            )
        return SystemUnreachableError(f"{host} cannot be reached, or broke off", hint="check `url` and the network", system=self.system)

    def error(self, reply: Reply, path: str) -> SystemError_:
        """An answer that cannot be used, as the error of a whole call."""
        match reply.status:
            case 403:
                return AccessRefusedError(
                    f"{unquote(path)}: not allowed ({reply.reason})", hint="ask for the right to it", system=self.system
                )
            case 404 | 410:
                return ObjectMissingError(
                    f"{unquote(path)} is not there", hint="`trueup check` shows the address books", system=self.system
                )
            case _:
                return ObjectUnreadableError(
                    f"{unquote(path)}: {reply.reason}", hint="is this the address of a CardDAV server?", system=self.system
                )


def quoted(name: str) -> str:
    """A name as the last part of an address."""
    return quote(name, safe=_PLAIN_NAME)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"


def _tree(body: bytes) -> Any:
    """The tree of a document; entities, which could lead out of it or blow it up, are not resolved."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, recover=False)
    return etree.fromstring(body, parser)


def _part(answer: Any, url: str) -> Part:
    path = urlsplit(urljoin(url, (answer.findtext(f"{DAV}href") or "").strip())).path
    props: dict[str, Any] = {}
    worst = _status(answer.findtext(f"{DAV}status"))
    for group in answer.findall(f"{DAV}propstat"):
        status = _status(group.findtext(f"{DAV}status"))
        if status < 300:
            inner = group.find(f"{DAV}prop")
            props.update({child.tag: child for child in (inner if inner is not None else ()) if isinstance(child.tag, str)})
    return Part(path, worst if not props and answer.find(f"{DAV}status") is not None else 200, props)


def _status(line: str | None) -> int:
    words = (line or "").split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 200


def _inner(part: Part | None, name: str) -> str | None:
    """The address in a property that holds one."""
    found = None if part is None else part.props.get(name)
    href = None if found is None else found.findtext(f"{DAV}href")
    return href.strip() if href else None


def _prefixed(name: str) -> str:
    return name.replace(DAV, "D:").replace(CARD, "C:")


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _wait_s(reply: Reply, attempt: int) -> float:
    said = reply.headers.get("retry-after", "")
    return min(float(said), _MOST_WAIT_S) if said.isdigit() else 0.5 * attempt
