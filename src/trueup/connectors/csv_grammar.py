"""How the bytes of a CSV file fall into records and fields, exactly; and when a faster reader provably sees the same.

A record is fields separated by the delimiter and ended by LF, CRLF or the end of the file (by CR in a file without any LF). A field that
starts with the quote character ends at the next one that is not doubled, and nothing but a delimiter or line end may follow; in any
other field a quote character stands for itself. An empty line is no record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Trouble = Literal["", "junk", "open"]
"""Why bytes are no record: text after a closing quote, or a quoted field that is never closed."""


class Record(NamedTuple):
    """One stretch of the file: `raw` with its line end; `blank` for an empty line; `trouble` says why it cannot be read."""

    raw: bytes
    lines: int  # physical lines
    blank: bool
    trouble: Trouble


class RawField(NamedTuple):
    """One field as it stands: `inner` is its text without the enclosing quotes, still with doubled ones."""

    inner: bytes
    quoted: bool


@dataclass(frozen=True, slots=True)
class Grammar:
    """The patterns of one delimiter, quote (empty: none) and line end (LF, or CR in a file that has no other)."""

    delimiter: bytes
    quote: bytes
    newline: bytes
    record: re.Pattern[bytes]
    field: re.Pattern[bytes]
    quoted: re.Pattern[bytes]
    framed: re.Pattern[bytes]

    def records(self, data: bytes, *, final: bool) -> Iterator[Record]:
        """The records at the start of `data`; stops before one that may go on after it, unless this is the file's end (`final`)."""
        position, size = 0, len(data)
        while position < size:
            match = self.record.match(data, position)
            if match is None:
                record = self._troubled(data, position, final=final)
                if record is None:
                    return
            elif match.end() == size and not final and not data.endswith(self.newline):
                return
            else:
                raw = match.group()
                record = Record(raw, max(raw.count(self.newline), 1), not raw.rstrip(b"\r\n"), "")
            yield record
            position += len(record.raw)

    def _troubled(self, data: bytes, start: int, *, final: bool) -> Record | None:
        """The unreadable record at `start`: one physical line of it, or all the rest; None when more data may make it whole."""
        position = start
        while (match := self.field.match(data, position)) is not None and match.group("end") == self.delimiter:
            position = match.end()
        closed = self.quoted.match(data, position)
        if closed is None or (closed.end() == len(data) and not final):
            if not final:
                return None
            rest = data[start:]
            return Record(rest, max(rest.count(self.newline), 1), blank=False, trouble="open")
        end = data.find(self.newline, start) + 1
        if not end and not final:
            return None
        return Record(data[start : end or len(data)], 1, blank=False, trouble="junk")

    def fields(self, raw: bytes) -> tuple[list[RawField], bytes]:
        """The fields of one readable record, and its line end (empty at the end of a file without one)."""
        found, position = [], 0
        while True:
            match = self.field.match(raw, position)
            if match is None:
                raise ValueError(f"no record: {raw[:80]!r}")
            inner, end = match.group("quoted"), match.group("end")
            quoted = inner is not None
            if not quoted:
                inner = match.group("plain")
                if end in {b"\n", b""} and inner.endswith(b"\r"):
                    inner, end = inner[:-1], b"\r" + end
            found.append(RawField(inner, quoted))
            position = match.end()
            if end != self.delimiter:
                return found, end

    def text(self, field: RawField, codec: str) -> str:
        """A field's value. Raises UnicodeDecodeError."""
        inner = field.inner.replace(self.quote * 2, self.quote) if field.quoted else field.inner
        return inner.decode(codec)

    def quote_field(self, value: bytes, *, always: bool) -> bytes:
        """A value as a field, quoted where it must be or `always`. Raises ValueError when quoting is needed but there is no quote."""
        needed = self.delimiter in value or b"\n" in value or b"\r" in value or (bool(self.quote) and self.quote in value)
        if not (needed or always):
            return value
        if not self.quote:
            if needed:
                raise ValueError("it contains a delimiter or line end, and this file has no quotes")
            return value
        return self.quote + value.replace(self.quote, self.quote * 2) + self.quote

    def whole_records(self, data: bytes, width: int, *, final: bool) -> tuple[int, int]:
        """(bytes, records) of a stretch at the start of `data` that is *proven* to be whole records of `width` fields each.

        (0, 0) when that cannot be shown quickly. The proof: cut out every quoted field that stands between delimiters or line ends;
        if no quote remains, each cut-out began at a field's start and ended at a field's end, and what remains holds exactly the
        structural delimiters and line ends. The count of delimiters then excludes short records, once the reader has excluded long ones.
        """
        if self.newline != b"\n":
            return 0, 0
        cut = len(data) if final else self._cut(data)
        if not cut:
            return 0, 0
        stretch = data[:cut]
        if not stretch.endswith(b"\n"):
            stretch += b"\n"  # the last record of a file without a final line end
        rest = stretch
        if self.quote and self.quote in stretch:
            rest = self.framed.sub(b"", b"\n" + stretch)[1:]
            if self.quote in rest:
                return 0, 0
        records = rest.count(b"\n")
        if rest.count(self.delimiter) != records * (width - 1) or (b"\r" in rest and b"\r" in rest.replace(b"\r\n", b"")):
            return 0, 0
        if rest[:1] in b"\r\n" or b"\n\n" in rest or b"\n\r" in rest:
            return 0, 0  # an empty line, or the only field of a record, quoted and cut out: the exact way tells them apart
        return cut, records

    def _cut(self, data: bytes) -> int:
        """The end of the last line in `data` that has an even number of quotes before it; 0 when there is none nearby."""
        end = data.rfind(b"\n") + 1
        if not self.quote:
            return end
        quotes = data.count(self.quote, 0, end)
        for _ in range(1000):
            if not end or quotes % 2 == 0:
                return end
            earlier = data.rfind(b"\n", 0, end - 1) + 1
            quotes -= data.count(self.quote, earlier, end)
            end = earlier
        return 0


@lru_cache(maxsize=64)
def grammar(delimiter: bytes, quote: bytes, newline: bytes = b"\n") -> Grammar:
    """The grammar of a delimiter, a quote (empty: none) and a line end."""
    d, n = re.escape(delimiter), re.escape(newline)
    before = rb"\r?\n" if newline == b"\n" else n
    plain = b"[^" + d + n + b"]*+"
    quoted = b"(?!)"
    if quote:
        q = re.escape(quote)
        quoted = q + b"[^" + q + b"]*+(?:" + q + q + b"[^" + q + b"]*+)*+" + q
        plain = b"(?!" + q + b")" + plain
    open_quote = re.escape(quote)
    inner = quoted[len(open_quote) : -len(open_quote)] if quote else quoted
    line_end = before + rb"|\r?\Z"
    last = quoted + b"(?=" + line_end + rb")\r?"
    record = b"(?:(?:" + quoted + b"|" + plain + b")" + d + b")*+(?:" + last + b"|" + plain + b")(?:" + n + rb"|\Z)"
    enclosed = open_quote + b"(?P<quoted>" + inner + b")" + open_quote + b"(?=" + d + b"|" + line_end + b")"
    field = b"(?:" + enclosed + b"|(?P<plain>" + plain + b"))(?P<end>" + d + b"|" + line_end + b")"
    framed = quoted + b"(?=" + d + rb"|\r?\n|\Z)"
    if quote:
        framed = open_quote + b"(?<=[" + d + rb"\n]" + open_quote + b")" + framed[len(open_quote) :]
    return Grammar(delimiter, quote, newline, re.compile(record), re.compile(field), re.compile(quoted), re.compile(framed))
