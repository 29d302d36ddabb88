"""A folder in a bucket of S3, or of what speaks like it: `s3://[KEY:SECRET@]BUCKET[/FOLDER][?region=…&endpoint=…]`.

Without a key in the address, that of the environment is taken (`AWS_ACCESS_KEY_ID` and its companions), else the role of the container or
machine. `endpoint` is the address of a server other than Amazon's. Needs trueup[s3].

S3 has no folders and renames nothing. A package that is a folder is there when its `datapackage.json` is, which is written last and only
where there is none; what was written before it by a process that was killed is half of a package, and written again with the next try.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from trueup.errors import AccessRefusedError, SystemUnreachableError, TrueupError
from trueup.exchange.places import STAMP_BYTES, TakenError, stamped
from trueup.exchange.statement import FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from obstore.store import S3Store

    from trueup.exchange.naming import PackageName

CONNECT_S, SILENT_S = 10.0, 30.0
RETRIES, PATIENCE = 4, timedelta(seconds=60)
AT_ONCE_BYTES = 64 << 20
"""A larger file goes in parts, which S3 puts together in one step at the end."""
EXAMPLE = "write s3://BUCKET/FOLDER?region=REGION, with endpoint=https://HOST where it is not Amazon's"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "redirect")
_LOGIN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId", "AuthFailure")
_FORBIDDEN = ("AccessDenied", "AllAccessDisabled", "AccountProblem")
_T = TypeVar("_T")


class S3Place:
    """A folder in a bucket. Connects when it is first used."""

    def __init__(self, address: str) -> None:
        """Connect to nothing yet. Raises TrueupError for what is no address."""
        parts = urlsplit(address)
        login, _, bucket = parts.netloc.rpartition("@")
        key, _, secret = login.partition(":")
        more = parse_qs(parts.query, keep_blank_values=True)
        endpoint = next(iter(more.pop("endpoint", [])), "")
        region = next(iter(more.pop("region", [])), "")
        whole = (bool(key) == bool(secret)) and (not endpoint or urlsplit(endpoint).scheme in {"http", "https"})
        if parts.scheme != "s3" or not _BUCKET.fullmatch(bucket) or more or not whole:
            raise TrueupError("this is no address of a folder in S3", hint=EXAMPLE)
        self._bucket, self._folder = bucket, unquote(parts.path).strip("/")
        self._key, self._secret = unquote(key), unquote(secret)
        self._endpoint, self._region = endpoint.rstrip("/"), region
        self._store: S3Store | None = None

    @property
    def shown(self) -> str:
        """See Place."""
        server = f"?endpoint={self._endpoint}" if self._endpoint else ""
        return f"s3://{self._bucket}{f'/{self._folder}' if self._folder else ''}{server}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """See Place."""
        from obstore import list_with_delimiter

        found = self._done(lambda store: list_with_delimiter(store, self._folder or None))
        paths = [*found["common_prefixes"], *(item["path"] for item in found["objects"] if item["path"] != self._folder)]
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    def examine(self, *, writes: bool) -> None:
        """See Place. Who may write, S3 tells only to those who do."""
        del writes
        self.names()

    def stamp(self, name: PackageName) -> str:
        """See Place."""
        from obstore import get_range, head
        from obstore.exceptions import NotFoundError

        path = self._path(str(name)) if name.ending else self._path(str(name), FILE)

        def ask(store: S3Store) -> str:
            try:
                size = head(store, path)["size"]
                end = bytes(get_range(store, path, start=max(0, size - STAMP_BYTES), end=size)) if size else b""
            except (NotFoundError, FileNotFoundError):
                return ""
            return stamped(name, size, end)

        return self._done(ask)

    def fetch(self, name: PackageName, to: Path) -> None:
        """See Place. Objects in folders below are left out."""
        from obstore import list_with_delimiter

        if name.ending:
            self._done(lambda store: _download(store, self._path(str(name)), to))
            return
        folder = self._path(str(name))

        def copy(store: S3Store) -> None:
            to.mkdir(exist_ok=True)
            for item in list_with_delimiter(store, folder)["objects"]:
                if item["path"] != folder:  # some tools mark a folder by an object without a name
                    _download(store, item["path"], to / item["path"].rpartition("/")[2])

        self._done(copy)

    def publish(self, source: Path, name: PackageName) -> None:
        """See Place. Of a folder the statement goes last, and only where there is none."""
        final = self._path(str(name))

        def put(store: S3Store) -> None:
            if not source.is_dir():
                self._put_new(store, source, final)
                return
            if _is_there(store, f"{final}/{FILE}"):
                raise self._taken(final)
            for path in sorted(source.iterdir()):
                if path.name != FILE:
                    _upload(store, path, f"{final}/{path.name}")
            self._put_new(store, source / FILE, f"{final}/{FILE}")

        self._done(put)

    def close(self) -> None:
        """See Place."""
        self._store = None

    # ---------------------------------------------------------------- inside

    def _path(self, *names: str) -> str:
        return "/".join(part for part in (self._folder, *names) if part)

    def _taken(self, path: str) -> TakenError:
        return TakenError(f"s3://{self._bucket}/{path} is there already", hint="it is never replaced: move it away if it is not wanted")

    def _put_new(self, store: S3Store, source: Path, path: str) -> None:
        """Put a file where there is none; of one that is large, S3 is asked before."""
        from obstore import put
        from obstore.exceptions import AlreadyExistsError

        if source.stat().st_size > AT_ONCE_BYTES:
            if _is_there(store, path):
                raise self._taken(path)
            _upload(store, source, path)
            return
        try:
            put(store, path, source.read_bytes(), mode="create", use_multipart=False)
        except AlreadyExistsError:
            raise self._taken(path) from None

    def _done(self, work: Callable[[S3Store], _T]) -> _T:
        store = self._opened()
        from obstore.exceptions import BaseError

        try:
            return work(store)
        except BaseError as error:
            raise self._said(error) from None
        except (FileNotFoundError, PermissionError) as error:  # so some of its errors are called
            raise self._said(error) from None
        except OSError as error:  # of this machine's disk
            why = error.strerror or type(error).__name__
            raise SystemUnreachableError(f"the place {self.shown} cannot be used: {why}", hint="look at the disk of this machine") from None

    def _opened(self) -> S3Store:
        if self._store is not None:
            return self._store
        try:
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ImportError:
            raise TrueupError("S3 needs a library that is not installed", hint="pip install 'trueup[s3]'") from None
        given: dict[str, Any] = {"access_key_id": self._key, "secret_access_key": self._secret, "region": self._region}
        given["endpoint"] = self._endpoint
        if self._key:
            given["token"] = ""  # the environment's belongs to another key
        options: dict[str, Any] = {"connect_timeout": timedelta(seconds=CONNECT_S), "read_timeout": timedelta(seconds=SILENT_S)}
        options["allow_http"] = self._endpoint.startswith("http://")
        try:
            self._store = S3Store(
                self._bucket,
                config={name: value for name, value in given.items() if value},  # type: ignore[arg-type]  # the keys are a TypedDict's
                client_options=options,  # type: ignore[arg-type]  # as above
                retry_config={"max_retries": RETRIES, "retry_timeout": PATIENCE},
            )
        except (BaseError, ValueError):
            raise TrueupError(f"{self.shown} cannot be used as it is written", hint=EXAMPLE) from None
        return self._store

    def _said(self, error: Exception) -> TrueupError:
        """What S3 answered, in words of ours: its own name signatures and requests."""
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        text = str(error)
        codes = _CODE.findall(text)
        code = codes[0] if codes else ""
        if "NoSuchBucket" in text:
            return SystemUnreachableError(f"there is no bucket {self._bucket}", hint="make it, or correct its name, region or endpoint")
        if any(word in text for word in _REGION):
            return SystemUnreachableError(f"the bucket {self._bucket} is in another region", hint="name it: s3://…?region=REGION")
        if any(word in text for word in _LOGIN) or isinstance(error, UnauthenticatedError):
            return AccessRefusedError(
                f"{self.shown}: the key was refused{f' ({code})' if code else ''}", hint="check the key and its secret"
            )
        if isinstance(error, PermissionDeniedError | PermissionError) or code in _FORBIDDEN:
            return AccessRefusedError(
                f"{self.shown}: the key may not do this{f' ({code})' if code else ''}",
                hint="it needs s3:ListBucket, s3:GetObject and s3:PutObject there",
            )
        if isinstance(error, FileNotFoundError):
            return SystemUnreachableError(f"something in {self.shown} is gone", hint="run again")
        if "169.254." in text or "credential" in text.lower():
            return AccessRefusedError(
                f"{self.shown}: no key is known", hint="write s3://KEY:SECRET@…, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if code:
            return SystemUnreachableError(f"the place {self.shown} cannot be used: {code}", hint="run again; it was tried several times")
        return SystemUnreachableError(f"{self.shown} does not answer as S3 does", hint="check endpoint, region and network")


def _is_there(store: S3Store, path: str) -> bool:
    from obstore import head
    from obstore.exceptions import NotFoundError

    try:
        head(store, path)
    except (NotFoundError, FileNotFoundError):
        return False
    return True


def _upload(store: S3Store, source: Path, path: str) -> None:
    from obstore import put

    put(store, path, source, use_multipart=source.stat().st_size > AT_ONCE_BYTES)


def _download(store: S3Store, path: str, to: Path) -> None:
    """Copy an object into a file. Its size is compared: a connection that ends early is no end."""
    from obstore import get

    found = get(store, path)
    written = 0
    with to.open("wb") as file:
        for block in found.stream():
            written += file.write(block)
    if written != found.meta["size"]:
        raise SystemUnreachableError(f"{path}: {written} of {found.meta['size']} bytes arrived", hint="run again")
