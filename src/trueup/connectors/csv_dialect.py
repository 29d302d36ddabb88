"""How one CSV file is written: its delimiter, header, line ends and manner of quoting, found in its first part or given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING

from trueup.connectors.csv_grammar import Grammar, grammar
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from trueup.connectors.csv_text import Encoding
    from trueup.connectors.filebase import FilePath

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_BYTES = 1 << 20
SAMPLE_RECORDS = 200

_SEPARATOR_LINE = re.compile(rb"sep=(.)\r?[\n\r]", re.IGNORECASE)  # what spreadsheet programs understand as the file's delimiter


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written.

    `body` is the byte (in the working form) after the header's record, on physical line `body_line`. `quoted` says per column whether
    new cells are quoted, `quotes_empty` whether empty ones are, too. `line_end` is the usual one, for new rows.
    """

    encoding: Encoding
    grammar: Grammar
    header: tuple[str, ...]
    body: int
    body_line: int
    line_end: bytes
    quoted: tuple[bool, ...]
    quotes_empty: bool


def read_dialect(
    system: str,
    path: FilePath,
    source: IO[bytes],
    start: int,
    encoding: Encoding,
    *,
    delimiter: str | None,
    quote: str,
    header_row: int,
) -> Dialect:
    """The dialect of a file whose text starts at byte `start` of its working form.

    `delimiter` None: found among `DELIMITERS`; `quote` empty: the file has none; `header_row` counts physical lines from 1, after a
    `sep=;` line if there is one. Raises ObjectUnreadableError when there is no header or its bytes are no text.
    """
    source.seek(start)
    sample = source.read(SAMPLE_BYTES)
    final = len(sample) < SAMPLE_BYTES
    newline = b"\n" if b"\n" in sample or b"\r" not in sample else b"\r"
    lines, position = 0, 0
    if separator := _SEPARATOR_LINE.match(sample):
        delimiter = delimiter or separator.group(1).decode("latin-1")
        lines, position = 1, separator.end()
    for _ in range(header_row - 1):
        position = sample.find(newline, position) + 1 or len(sample)
        lines += 1
    text = sample[position:]
    marks = quote.encode(encoding.codec)
    delimiter = delimiter or _detect_delimiter(text, marks, newline, final=final)
    rules = grammar(delimiter.encode(encoding.codec), marks, newline)
    header = next(rules.records(text, final=final), None)
    if header is None or header.blank:
        raise _no_header(system, path, header_row, empty=not text.strip())
    if header.trouble:
        raise ObjectUnreadableError(
            f"the header of {path} cannot be read: its quotes do not pair", hint="mend line 1, or say `header_row`", system=system
        )
    try:
        names = tuple(rules.text(field, encoding.codec) for field in rules.fields(header.raw)[0])
    except UnicodeDecodeError:
        raise ObjectUnreadableError(
            f"the header of {path} is no valid {encoding.label}", hint="say the right `encoding` for this system", system=system
        ) from None
    body = position + len(header.raw)
    quoted, quotes_empty = _manner_of_quoting(rules, header.raw, text[len(header.raw) :], len(names), final=final)
    return Dialect(
        encoding=encoding,
        grammar=rules,
        header=names,
        body=start + body,
        body_line=1 + lines + header.lines,
        line_end=_usual_line_end(sample, newline),
        quoted=quoted,
        quotes_empty=quotes_empty,
    )


def _no_header(system: str, path: FilePath, header_row: int, *, empty: bool) -> ObjectUnreadableError:
    if empty:
        hint = "put the file back; a table without rows still has its header line"
        return ObjectUnreadableError(f"{path} is empty: it has no header", hint=hint, system=system)
    hint = "say in `header_row` which line holds the column names"
    return ObjectUnreadableError(f"{path} has no header: line {header_row} is empty", hint=hint, system=system)


def _detect_delimiter(text: bytes, quote: bytes, newline: bytes, *, final: bool) -> str:
    """The delimiter under which most sampled records have as many fields as the header, then the one that gives most columns."""
    best, best_score = DELIMITERS[0], (0.0, 1)
    for delimiter in DELIMITERS:
        rules = grammar(delimiter.encode(), quote, newline)
        widths = [
            len(rules.fields(record.raw)[0])
            for record in islice(rules.records(text, final=final), SAMPLE_RECORDS)
            if not (record.blank or record.trouble)
        ]
        if not widths or widths[0] == 1:
            continue
        score = (widths.count(widths[0]) / len(widths), widths[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _manner_of_quoting(rules: Grammar, header: bytes, body: bytes, width: int, *, final: bool) -> tuple[tuple[bool, ...], bool]:
    """Per column: whether every filled cell sampled (without rows: the header's) is quoted; and whether every empty cell is."""
    rows = [
        rules.fields(record.raw)[0]
        for record in islice(rules.records(body, final=final), SAMPLE_RECORDS)
        if not (record.blank or record.trouble)
    ]
    rows = [row for row in rows if len(row) == width]
    titles = rules.fields(header)[0]
    every = all(field.quoted for field in titles)
    quoted = []
    for index in range(width):
        filled = [row[index].quoted for row in rows if row[index].inner]
        quoted.append(all(filled) if filled else every if not rows else False)
    empty = [field.quoted for row in rows for field in row if not field.inner]
    return tuple(quoted), all(empty) if empty else all(quoted)


def _usual_line_end(sample: bytes, newline: bytes) -> bytes:
    if newline == b"\r":
        return b"\r"
    with_return = sample.count(b"\r\n")
    return b"\r\n" if with_return * 2 > sample.count(b"\n") else b"\n"
