"""An object that is not there yet, where the configuration allows a run to make it: a plan treats it as empty instead of making it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from trueup.connectors.base import Page
from trueup.core.cells import KEY
from trueup.core.mapping_out import native_dtype
from trueup.errors import ObjectMissingError
from trueup.model import ColumnInfo, ColumnType, ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.base import Connector, WriteBatch
    from trueup.model import Caps, ObjectSpec


class Unmade:
    """Stands for a connector as far as one missing object goes: described as it would be made, and empty."""

    def __init__(self, connector: Connector, columns: Mapping[str, str]) -> None:
        """`columns` is native column -> column type, as `prepare` would be told."""
        self._connector = connector
        self._types = {name: cast("ColumnType", kind) for name, kind in columns.items()}

    @property
    def caps(self) -> Caps:
        """Those of the real connector; there is nothing to be cut into parts."""
        return replace(self._connector.caps, parts=False)

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Connector:
        """Never opened by itself: it stands for a connector that is. Raises ObjectMissingError."""
        del settings, directory
        raise ObjectMissingError("an object that is not there yet cannot be opened", system=name)

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """No settings of its own."""
        return {"type": "object", "properties": {}}

    def discover(self) -> list[ObjectInfo]:
        """Nothing is there."""
        return []

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """The object as it would be made."""
        is_file = self.caps.kind == "file"
        return ObjectInfo(
            name=obj.label,
            columns={name: ColumnInfo(name=name, type=self._types.get(name, "text")) for name in (*obj.key, *self._types)},
            key=obj.key,
            kind="file" if is_file else "table",
            assigns_key=self.caps.assigns_keys,
            rows=0,
        )

    def read(
        self, obj: ObjectSpec, columns: Sequence[str], *, since: str | None = None, keys: Sequence[str] | None = None, page_rows: int = 0
    ) -> Iterator[Page]:
        """No rows, and that is all."""
        del obj, since, keys, page_rows
        yield Page(self._empty(columns), complete=True)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """No rows."""
        del obj, values
        return self._empty(columns)

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """Refused: a plan writes nothing. Raises ObjectMissingError."""
        del batch
        raise ObjectMissingError(f"{obj.label} is not there yet", hint="`trueup sync` makes it")

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """Nothing is made."""

    def close(self) -> None:
        """Nothing to give back: the real connector is closed by whoever opened it."""

    def _empty(self, columns: Sequence[str]) -> pl.DataFrame:
        types = {name: native_dtype(self._types.get(name, "text")) for name in columns}
        return pl.DataFrame(schema={KEY: pl.String(), **types})
