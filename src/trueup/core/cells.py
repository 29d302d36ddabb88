"""Cells: the one form in which the core compares, merges and stores values.

A frame of cells has one String column per field. A cell is

    Polars null     absent or unknown: nobody said anything about this field
    NULL ("\\x00")   the value null, said explicitly
    other text      the canonical text of the value, unique per value, so that equal text means equal value:
                    text NFC; integer `-12`; decimal without trailing zeros `1.5`; float shortest repr; boolean `true`/`false`;
                    date `2026-11-20`; datetime `2026-11-20T02:00:00.123456Z` (fraction only where not zero);
                    list a JSON array of its distinct items, sorted; json canonical JSON (sorted keys, no spaces);
                    reference the golden id of the referenced record

NUL can stand for null because no text may contain it: the mapping rejects such a value.
"""

from __future__ import annotations

NULL = "\x00"
KEY = "__key"  # canonical text of the native key
AT = "__at"  # Datetime(us, UTC): when the row was edited, as far as its system says; null: unknown
VERSION = "__version"  # native version of the row (ETag, SyncToken), String; null where the system has none
ABSENT = "__absent"  # List(String): native columns that this row does not have (not the same as null)
GID = "__gid"  # Int64: golden id
SYSTEM = "__system"
OP = "__op"  # Int64: number of an operation within its batch
