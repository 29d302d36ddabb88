"""JSON Lines files: one object on each line (https://jsonlines.org), in UTF-8.

Columns are members of the object (`email`) or JSON Pointers into it (`/lead/email`). Lines that are not written, and in written ones all
other members, keep their bytes; numbers keep their digits.
"""

from __future__ import annotations

import codecs
from typing import IO, TYPE_CHECKING, Any

from trueup.connectors.fileconnector import FileConnector
from trueup.connectors.jsonl_rows import JsonlReading
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from trueup.connectors.filebase import Stamp
    from trueup.connectors.filerows import Reading
    from trueup.model import ColumnInfo, ObjectSpec


class JsonlConnector(FileConnector):
    """One JSON Lines file, or a directory of them."""

    suffixes = (".jsonl", ".ndjson")

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See the contract."""
        return {
            "type": "object",
            "title": "JSON Lines file",
            "properties": {
                "path": {
                    "type": "string",
                    "title": "Path",
                    "description": "the file, or a directory of them; a relative path starts at the configuration file's directory",
                },
            },
            "required": ["path"],
            "additionalProperties": False,
        }

    def _columns(self, obj: ObjectSpec, opened: ExitStack) -> dict[str, ColumnInfo]:
        return dict(self._reading(obj, opened).columns)

    def _read_file(self, obj: ObjectSpec, path: Path, file: IO[bytes], found: Stamp) -> Reading:
        file.seek(0)
        if file.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            raise ObjectUnreadableError(f"{path} is in UTF-16; JSON Lines are in UTF-8", hint="save it as UTF-8", system=self.name)
        return JsonlReading(system=self.name, path=path, stamp=found, file=file, source=file, columns={}, key_columns=obj.key)

    def _check_columns(self, reading: Reading, columns: Sequence[str]) -> None:
        """Any member may be absent from all rows; only what can be no column is refused."""
        if "" in columns:
            raise self.missing_column(reading.path, "", reading.columns)

    def _new_content(self, columns: Sequence[str]) -> bytes:
        """Nothing: a file of zero lines."""
        del columns
        return b""

    def _has_content(self, path: Path) -> bool:
        return path.exists()
