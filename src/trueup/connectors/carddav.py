"""Address books on CardDAV servers (RFC 6352): Nextcloud, Radicale, Baikal, Fastmail, iCloud and others. An object is an address book.

A row is a card; its key is the last part of the card's address. Columns are parts of the card (`carddav_columns`); what no column is
written to keeps its bytes. What changed is asked for by sync tokens (RFC 6578), and where the server has forgotten one, everything is
listed. A write names the ETag of the card as it was just read, with all values that are expected in it, so that it never lands on a card
that somebody else has changed meanwhile.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import polars as pl

from trueup.connectors.base import PAGE_ROWS, Page, Reject
from trueup.connectors.carddav_card import CardError, parsed
from trueup.connectors.carddav_columns import HREF, CardColumn, declared, is_name, key_of, name_of, standard, typed
from trueup.connectors.carddav_http import AT_ONCE, Book, Dav
from trueup.connectors.carddav_watch import CardWatch, way_of
from trueup.connectors.carddav_writing import Writer
from trueup.connectors.sql_types import cell_text, dtype_of
from trueup.core.cells import KEY
from trueup.errors import ConfigError, ObjectMissingError, ObjectUnreadableError, Problem, UsageError, keep_secret
from trueup.model import Caps, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.watching import Way
    from trueup.model import ObjectSpec

CARD_VERSIONS = ("3.0", "4.0")
LOOK_S = 30.0


class CarddavConnector:
    """One account on one server. Used by one thread at a time; it writes with several."""

    caps: Caps = Caps(
        kind="api", precondition="native", stored_row=True, marks=True, find=True, assigns_keys=True, watch=True, browses=False
    )

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        """`settings` are checked; nothing is asked yet."""
        self.name = name
        self._settings = dict(settings)
        self._dav = self._client()
        self._books: dict[str, Book] | None = None
        self._home: str | None = None

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See base.Connector."""
        del directory
        problems = _setting_problems(name, settings, cls.settings_schema())
        if problems:
            raise ConfigError(problems)
        if settings.get("password"):
            keep_secret(f"{name}.password", str(settings["password"]))
        return cls(name, settings)

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""
        return {
            "type": "object",
            "title": "CardDAV server",
            "properties": {
                "url": {
                    "type": "string",
                    "title": "Address",
                    "description": "of the server, of your account on it, or of one address book; address books are found from there",
                    "examples": ["https://dav.example.com"],
                },
                "user": {"type": "string", "title": "User", "description": "who logs in; left out: nobody"},
                "password": {"type": "string", "title": "Password", "description": "of the user; an app password where there are such"},
                "hosts": {
                    "type": "array",
                    "items": {"type": "string"},
                    "title": "Further hosts",
                    "description": "hosts that the server may lead to and that may get the password, by name or pattern (`*.example.com`)",
                },
                "card_version": {
                    "type": "string",
                    "enum": list(CARD_VERSIONS),
                    "title": "Version of new cards",
                    "description": "3.0, which every program reads (default), or 4.0; cards that are there keep theirs",
                    "default": "3.0",
                },
                "look_every_s": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "title": "Seconds between two looks",
                    "description": "how often a server is asked whether something changed, where a mapping is in real time",
                    "default": LOOK_S,
                },
                "watch": {
                    "type": "string",
                    "enum": ["tokens", "off"],
                    "title": "Watch",
                    "description": "tokens (default): the server is asked for what changed every few seconds; off: on a schedule only",
                },
                "timeout_s": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "title": "Time limit",
                    "description": "seconds that one answer may take",
                    "default": 60,
                },
                "connections": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 32,
                    "title": "Connections",
                    "description": "how many cards are written at the same time",
                    "default": 4,
                },
            },
            "required": ["url"],
            "additionalProperties": False,
        }

    def _client(self) -> Dav:
        settings = self._settings
        return Dav(
            self.name,
            str(settings["url"]),
            settings.get("user"),
            settings.get("password"),
            hosts=tuple(settings.get("hosts") or ()),
            timeout_s=float(settings.get("timeout_s") or 60),
            connections=int(settings.get("connections") or 4),
        )

    # ---------------------------------------------------------------- the contract

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector: the address books of the account."""
        columns = {name: column.info() for name, column in standard().items()}
        return [
            ObjectInfo(name=book.name, columns=columns, key=(HREF,), kind="resource", assigns_key=True, remark=_remark(book))
            for book in self._known_books().values()
        ]

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        book, columns = self._opened(obj)
        return ObjectInfo(
            name=book.name,
            columns={name: column.info() for name, column in columns.items()},
            key=(self._key(obj, columns).name,),
            kind="resource",
            assigns_key=True,
        )

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector. Nothing is read by cursor; `moved` is what spares a reading."""
        if since is not None:
            raise ObjectUnreadableError("address books have no column to read from", hint="leave `modified` out", system=self.name)
        book, known = self._opened(obj)
        key, shown = self._key(obj, known), self._chosen(obj, known, columns)
        names = [name_of(text) for text in dict.fromkeys(keys) if is_name(text)] if keys is not None else list(self._dav.names(book))
        return self._pages(book, key, shown, names, page_rows)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector. Servers search by text alone, each in its own manner; so all cards are looked at."""
        names, found = values.columns, []
        wanted = _comparable(values, names)
        for page in self.read(obj, list(dict.fromkeys([*columns, *names]))):
            here = _comparable(page.rows, names).with_columns(page.rows[KEY])
            kept = here.join(wanted, on=names, how="semi", nulls_equal=True)
            found.append(page.rows.join(kept.select(KEY), on=KEY, how="semi", maintain_order="left"))
        return pl.concat(found).select(KEY, *columns, "__version")

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        book, known = self._opened(obj)
        key = self._key(obj, known)
        self._chosen(obj, known, [*batch.columns, *batch.returning])
        for name in batch.columns:
            if not known[name].writable and known[name].prop:
                raise ObjectMissingError(
                    f"{name} ({known[name].at}) can only be read", hint="map it with `direction: read`", system=self.name
                )
        writer = Writer(
            self._dav,
            book,
            known,
            key,
            version=str(self._settings.get("card_version") or "3.0"),
            connections=int(self._settings.get("connections") or 4),
        )
        return writer.write(batch)

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector: an address book is made where the account may."""
        del columns
        if not obj.create or not obj.name or self._found(obj.name) is not None or self._home is None:
            return
        self._dav.make_book(self._home, obj.name)
        self._books = None

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking: the server's sync token."""
        book, columns = self._opened(obj)
        token = self._dav.token(book)
        return None if token is None else json.dumps([book.path, self._key(obj, columns).name, token])

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking: what we write is told by the next token as well, and looked at once more."""
        del obj
        return mark

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking. The listing comes before the changes, so that a card touched in between is read."""
        book, known = self._opened(obj)
        key, shown = self._key(obj, known), self._chosen(obj, known, columns)
        path, key_name, token = json.loads(mark)
        if (path, key_name) != (book.path, key.name):
            return None
        listed = self._dav.names(book)
        told = self._dav.changes(book, token)
        if told is None:
            return None
        touched, _ = told
        return self._since(book, key, shown, list(listed), touched)

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """See watching.Watching."""
        return way_of(self._settings, self._dav, self._places(objects))

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> CardWatch:
        """See watching.Watching; nothing is made in the server."""
        del name
        places = self._places(objects)
        way = way_of(self._settings, self._dav, places)
        if not way.pushes:
            raise UsageError("this address book is not watched", hint=way.why)
        return CardWatch(self._client(), way, places, since, look_s=float(self._settings.get("look_every_s") or LOOK_S))

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching: nothing was made."""

    def close(self) -> None:
        """See base.Connector."""
        self._dav.close()

    # ---------------------------------------------------------------- inside

    def _places(self, objects: Sequence[ObjectSpec]) -> dict[int, Book | str]:
        places: dict[int, Book | str] = {}
        for number, obj in enumerate(objects):
            try:
                places[number] = self._book(obj)
            except ObjectMissingError as error:
                places[number] = f"{error.message}: {error.hint}"
        return places

    def _known_books(self) -> dict[str, Book]:
        if self._books is None:
            found, self._home = self._dav.books()
            self._books = {book.name: book for book in found}
        return self._books

    def _found(self, name: str | None) -> Book | None:
        """An address book by its name, or by the one that people see; without a name, the only one."""
        books = self._known_books()
        if not name:
            return next(iter(books.values())) if len(books) == 1 else None
        if name in books:
            return books[name]
        shown = [book for book in books.values() if book.shown == name]
        return shown[0] if len(shown) == 1 else None

    def _book(self, obj: ObjectSpec) -> Book:
        found = self._found(obj.name)
        if found is None:
            names = [name for book in self._known_books().values() for name in dict.fromkeys((book.name, book.shown)) if name]
            near = difflib.get_close_matches(obj.name or "", names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}" if names else "the account has none"
            what = f"there is no address book {obj.name!r}" if obj.name else "there are several address books: name one as `object`"
            raise ObjectMissingError(what, hint=hint, system=self.name)
        return found

    def _opened(self, obj: ObjectSpec) -> tuple[Book, dict[str, CardColumn]]:
        try:
            own = declared(obj.options.get("columns") or {})
            columns = own if obj.options.get("standard") is False else standard() | own
        except CardError as error:
            raise ObjectUnreadableError(str(error), hint="see docs/contacts.md", system=self.name) from None
        return self._book(obj), columns

    def _key(self, obj: ObjectSpec, columns: Mapping[str, CardColumn]) -> CardColumn:
        """The key column: the one that is a card's address. Raises ObjectMissingError for any other."""
        if not obj.key:
            return columns.get(HREF) or standard()[HREF]
        self._chosen(obj, columns, obj.key)
        if len(obj.key) > 1 or columns[obj.key[0]].prop:
            raise ObjectMissingError(
                f"the key of an address book is {HREF}, not {', '.join(obj.key)}", hint=f"map it with key: {HREF}", system=self.name
            )
        return columns[obj.key[0]]

    def _chosen(self, obj: ObjectSpec, columns: Mapping[str, CardColumn], names: Sequence[str]) -> list[CardColumn]:
        for name in names:
            if name not in columns:
                near = difflib.get_close_matches(name, columns, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "declare it: options: {columns: {" + name + ": X-PROPERTY}}"
                raise ObjectMissingError(f"{obj.name or 'the address book'} has no column {name!r}", hint=hint, system=self.name)
        return [columns[name] for name in names]

    def _pages(self, book: Book, key: CardColumn, columns: Sequence[CardColumn], names: Sequence[str], page_rows: int) -> Iterator[Page]:
        step = max(1, min(page_rows, AT_ONCE))
        for start in range(0, len(names), step):
            yield self._page(book, key, columns, names[start : start + step], complete=start + step >= len(names))
        if not names:
            yield self._page(book, key, columns, [], complete=True)

    def _since(
        self, book: Book, key: CardColumn, columns: Sequence[CardColumn], listed: Sequence[str], touched: Mapping[str, bool]
    ) -> Iterator[Page]:
        same = [key_text(name, key) for name in listed if name not in touched]
        usable = [text for text in same if text is not None]
        unusable = [name for name, text in zip((n for n in listed if n not in touched), same, strict=True) if text is None]
        names = [*(name for name, there in touched.items() if there), *unusable]
        for start in range(0, len(names), AT_ONCE):
            yield self._page(book, key, columns, names[start : start + AT_ONCE], complete=False)
        last = self._page(book, key, columns, [], complete=True)
        yield Page(last.rows, complete=True, same=pl.Series(KEY, usable, dtype=pl.String))

    def _page(self, book: Book, key: CardColumn, columns: Sequence[CardColumn], names: Sequence[str], *, complete: bool) -> Page:
        rows, rejected = [], []
        for name, (etag, text) in self._dav.cards(book, names).items():
            try:
                rows.append(row_of(name, etag, text, key, columns))
            except CardError as error:
                rejected.append(Reject(key_text(name, key), str(error), where=book.path + name))
        schema: dict[str, pl.DataType] = {KEY: pl.String()}
        schema |= {column.name: dtype_of(column.type) for column in columns}
        frame = pl.DataFrame(rows, schema=schema | {"__version": pl.String()}, orient="row")
        return Page(frame, complete=complete, rejected=tuple(rejected))


def row_of(name: str, etag: str, text: str, key: CardColumn, columns: Sequence[CardColumn]) -> dict[str, Any]:
    """One row. Raises CardError for a card, or a value, that cannot be read."""
    said = key_text(name, key)
    if said is None:
        raise CardError(f"its address {name!r} cannot be its key")
    card = parsed(text)
    row: dict[str, Any] = {KEY: said}
    for column in columns:
        try:
            row[column.name] = column.read(card) if column.prop else typed(said, column.type)
        except CardError as error:
            raise CardError(f"{column.name}: {error}") from None
    return row | {"__version": etag}


def key_text(name: str, key: CardColumn) -> str | None:
    """The key text of a card's name; None for a name that is no key, of which there is no way back to the card."""
    text = key_of(name)
    if name_of(text) != name:
        return None
    try:
        value = typed(text, key.type)
    except CardError:
        return None
    if key.type == "text":
        return text
    canonical = pl.DataFrame({"k": [value]}, schema={"k": dtype_of(key.type)}).select(cell_text(pl.col("k"), key.type)).item()
    return text if canonical == text else None


def _remark(book: Book) -> str:
    return f"shown as {book.shown!r}" if book.shown and book.shown != book.name else ""


def _comparable(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    is_list = {name: isinstance(rows.schema[name], pl.List) for name in names}
    return rows.select(pl.col(name).list.join("\x00") if is_list[name] else pl.col(name).cast(pl.String) for name in names)


def _setting_problems(name: str, settings: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Problem]:
    place, known = f"systems.{name}", schema["properties"]
    problems = _address_problems(place, settings.get("url"))
    for given in settings:
        if given not in known:
            near = difflib.get_close_matches(given, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
            problems.append(Problem("", 0, f"{place}.{given}", f"unknown setting {given!r}", hint))
    if settings.get("password") and not settings.get("user"):
        problems.append(Problem("", 0, f"{place}.user", "`user` is missing, there is only a password", "say who logs in"))
    for choice in ("card_version", "watch"):
        if settings.get(choice) is not None and settings[choice] not in known[choice]["enum"]:
            wanted = ", ".join(known[choice]["enum"])
            problems.append(Problem("", 0, f"{place}.{choice}", f"{settings[choice]!r} is none of the choices", f"one of {wanted}"))
    for number in ("look_every_s", "timeout_s", "connections"):
        said = settings.get(number)
        if said is not None and (isinstance(said, bool) or not isinstance(said, int | float) or said <= 0):
            problems.append(Problem("", 0, f"{place}.{number}", f"{said!r} is no number above zero", f"such as {known[number]['default']}"))
    return problems


def _address_problems(place: str, url: Any) -> list[Problem]:
    if not url:
        return [Problem("", 0, f"{place}.url", "`url` is missing", "such as https://dav.example.com")]
    parts = urlsplit(str(url))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return [Problem("", 0, f"{place}.url", "this is no address", "such as https://dav.example.com")]
    if parts.username or parts.password:
        return [Problem("", 0, f"{place}.url", "a password does not belong into the address", "use `user` and `password`")]
    return []
