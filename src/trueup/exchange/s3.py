"""Packages in a bucket of S3 (`trueup.remote.s3` says how it is addressed).

S3 has no folders and renames nothing. A package that is a folder is there when its `datapackage.json` is, which is written last and only
where there is none; what was written before it by a process that was killed is half of a package, and written again with the next try.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.exchange.places import STAMP_BYTES, TakenError, stamped
from trueup.exchange.statement import FILE
from trueup.remote.s3 import Bucket, download, is_there

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from obstore.store import S3Store

    from trueup.exchange.naming import PackageName

AT_ONCE_BYTES = 64 << 20
"""A larger file goes in parts, which S3 puts together in one step at the end."""


class S3Place:
    """A folder in a bucket. Connects when it is first used."""

    def __init__(self, address: str) -> None:
        """Connect to nothing yet. Raises TrueupError for what is no address."""
        self._bucket = Bucket(address)

    @property
    def shown(self) -> str:
        """See Place."""
        return self._bucket.shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """See Place."""
        from obstore import list_with_delimiter

        found = self._bucket.done(lambda store: list_with_delimiter(store, self._bucket.folder or None))
        paths = [*found["common_prefixes"], *(item["path"] for item in found["objects"] if item["path"] != self._bucket.folder)]
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    def examine(self, *, writes: bool) -> None:
        """See Place. Who may write, S3 tells only to those who do."""
        del writes
        self.names()

    def stamp(self, name: PackageName) -> str:
        """See Place."""
        from obstore import get_range, head
        from obstore.exceptions import NotFoundError

        path = self._bucket.path(str(name)) if name.ending else self._bucket.path(str(name), FILE)

        def ask(store: S3Store) -> str:
            try:
                size = head(store, path)["size"]
                end = bytes(get_range(store, path, start=max(0, size - STAMP_BYTES), end=size)) if size else b""
            except (NotFoundError, FileNotFoundError):
                return ""
            return stamped(name, size, end)

        return self._bucket.done(ask)

    def fetch(self, name: PackageName, to: Path) -> None:
        """See Place. Objects in folders below are left out."""
        from obstore import list_with_delimiter

        if name.ending:
            self._bucket.done(lambda store: download(store, self._bucket.path(str(name)), to))
            return
        folder = self._bucket.path(str(name))

        def copy(store: S3Store) -> None:
            to.mkdir(exist_ok=True)
            for item in list_with_delimiter(store, folder)["objects"]:
                if item["path"] != folder:  # some tools mark a folder by an object without a name
                    download(store, item["path"], to / item["path"].rpartition("/")[2])

        self._bucket.done(copy)

    def publish(self, source: Path, name: PackageName) -> None:
        """See Place. Of a folder the statement goes last, and only where there is none."""
        final = self._bucket.path(str(name))

        def put(store: S3Store) -> None:
            if not source.is_dir():
                self._put_new(store, source, final)
                return
            if is_there(store, f"{final}/{FILE}"):
                raise self._taken(final)
            for path in sorted(source.iterdir()):
                if path.name != FILE:
                    _upload(store, path, f"{final}/{path.name}")
            self._put_new(store, source / FILE, f"{final}/{FILE}")

        self._bucket.done(put)

    def close(self) -> None:
        """See Place."""
        self._bucket.close()

    # ---------------------------------------------------------------- inside

    def _taken(self, path: str) -> TakenError:
        return TakenError(
            f"s3://{self._bucket.name}/{path} is there already", hint="it is never replaced: move it away if it is not wanted"
        )

    def _put_new(self, store: S3Store, source: Path, path: str) -> None:
        """Put a file where there is none; of one that is large, S3 is asked before."""
        from obstore import put
        from obstore.exceptions import AlreadyExistsError

        if source.stat().st_size > AT_ONCE_BYTES:
            if is_there(store, path):
                raise self._taken(path)
            _upload(store, source, path)
            return
        try:
            put(store, path, source.read_bytes(), mode="create", use_multipart=False)
        except AlreadyExistsError:
            raise self._taken(path) from None


def _upload(store: S3Store, source: Path, path: str) -> None:
    from obstore import put

    put(store, path, source, use_multipart=source.stat().st_size > AT_ONCE_BYTES)
