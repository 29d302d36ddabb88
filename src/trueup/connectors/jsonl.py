"""JSON Lines files: one object on each line (https://jsonlines.org), in UTF-8.

Columns are members of the object (`email`) or JSON Pointers into it (`/lead/email`); `options: {columns: {name: type}}` of the mapping
declares types, which are otherwise found in the rows. Lines that are not written, and in written ones all
other members, keep their bytes; numbers keep their digits.
"""

from __future__ import annotations

import codecs
from typing import IO, TYPE_CHECKING, Any

from trueup.connectors.file_watch import SETTING
from trueup.connectors.fileconnector import FileConnector
from trueup.connectors.jsonl_rows import DECLARABLE, JsonlReading
from trueup.connectors.remotefile import of_system
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from trueup.connectors.filebase import FilePath, Stamp
    from trueup.connectors.filerows import Reading
    from trueup.model import ColumnInfo, ObjectSpec


class JsonlConnector(FileConnector):
    """One JSON Lines file, or a directory of them."""

    kind = "resource"
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
                    "description": (
                        "the file, or a directory of them; a relative path starts at the configuration file's directory;"
                        " elsewhere: s3://… or sftp://…"
                    ),
                },
                "watch": SETTING,
            },
            "required": ["path"],
            "additionalProperties": False,
        }

    def _columns(self, obj: ObjectSpec, opened: ExitStack) -> dict[str, ColumnInfo]:
        return dict(self._reading(obj, opened).columns)

    def _read_file(self, obj: ObjectSpec, path: FilePath, file: IO[bytes], found: Stamp) -> Reading:
        declared = dict(obj.options.get("columns") or {})
        unknown = [kind for kind in declared.values() if kind not in DECLARABLE]
        if unknown:
            raise ObjectUnreadableError(
                f"{path}: a column cannot be declared as {unknown[0]!r}", hint=f"there are {', '.join(DECLARABLE)}", system=self.name
            )
        file.seek(0)
        if file.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            raise ObjectUnreadableError(f"{path} is in UTF-16; JSON Lines are in UTF-8", hint="save it as UTF-8", system=self.name)
        return JsonlReading(
            system=self.name, path=path, stamp=found, file=file, source=file, columns={}, key_columns=obj.key, declared=declared
        )

    def _check_columns(self, reading: Reading, columns: Sequence[str]) -> None:
        """A column is declared, or some row has it; in a file without rows it may be any."""
        for name in columns:
            if name not in reading.columns and (reading.columns or not name):
                raise self.missing_column(reading.path, name, reading.columns)

    def _new_content(self, columns: Sequence[str]) -> bytes:
        """Nothing: a file of zero lines."""
        del columns
        return b""

    def _has_content(self, path: FilePath) -> bool:
        with of_system(self.name):
            return path.exists()
