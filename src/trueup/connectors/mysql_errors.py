"""What the server's error numbers mean for the caller, and which column a message names.

https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html, https://mariadb.com/kb/en/mariadb-error-code-reference/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACCESS = {1044, 1045, 1142, 1143, 1227, 1370, 1396, 1410, 1698, 1862, 3118, 4151}
BUSY = {1205, 1213, 1412, 1969, 3024, 3058, 3572}
UNREACHABLE = {
    0,
    1040,
    1042,
    1043,
    1053,
    1080,
    1129,
    1130,
    1152,
    1158,
    1159,
    1160,
    1161,
    1203,
    1226,
    1317,
    1927,
    2002,
    2003,
    2006,
    2013,
    2055,
}
NO_DATABASE = 1049
MISSING = {1051, 1054, 1146}
REFUSED_WHOLE = {
    3: "no room is left on the server",
    1021: "no room is left on the server",
    1030: "the server's storage failed",
    1037: "the server has no memory left",
    1041: "the server has no memory left",
    1114: "the table's space on the server is full",
    1290: "the server may only be read",
    1792: "the server may only be read",
    1836: "the server may only be read",
}
TOO_LARGE = 1153
DOUBLED = {1062, 1586}

_COLUMN = re.compile(r"(?:[Cc]olumn|[Ff]ield) (?:`[^`]*`\.`[^`]*`\.)?[`']([^`']+)[`']")
_FOREIGN = re.compile(r"FOREIGN KEY \(`([^`,]+)`\)")
_INDEX = re.compile(r"for key '(?:[^']*\.)?([^'.]+)'$")
_VALUE = re.compile(r"(?P<before>(?:Incorrect|Truncated incorrect) \w+ value: )'.*'(?P<after> for column .*)", re.DOTALL)


def column_at_fault(words: str, unique: Mapping[str, Sequence[str]]) -> str | None:
    """The column that the server's message names: itself, by its foreign key, or by a unique index of one column."""
    if index := _INDEX.search(words):
        names = unique.get(index.group(1), ())
        return names[0] if len(names) == 1 else None
    found = _FOREIGN.search(words) or _COLUMN.search(words)
    return found.group(1) if found else None


def in_words(number: int, words: str) -> str:
    """The server's message as a person should read it."""
    if number in DOUBLED:
        return f"a row with this value exists already: {words}"
    if cut := _VALUE.fullmatch(words):  # the value may be long, and is the record's own
        return f"{cut['before'].rstrip(': ')}{cut['after']}"
    return words
