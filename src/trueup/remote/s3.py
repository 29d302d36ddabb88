"""A folder in a bucket of S3, or of what speaks like it: `s3://[KEY:SECRET@]BUCKET[/FOLDER][?region=…&endpoint=…]`.

Without a key in the address, that of the environment is taken (`AWS_ACCESS_KEY_ID` and its companions), else the role of the container or
machine. `endpoint` is the address of a server other than Amazon's. Needs trueup[s3].
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from trueup.errors import AccessRefusedError, SystemUnreachableError, TrueupError, keep_secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obstore import ObjectMeta
    from obstore.store import S3Store

CONNECT_S, SILENT_S = 10.0, 30.0
RETRIES, PATIENCE = 4, timedelta(seconds=60)
EXAMPLE = "write s3://BUCKET/FOLDER?region=REGION, with endpoint=https://HOST where it is not Amazon's"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "redirect")
_LOGIN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId", "AuthFailure")
_FORBIDDEN = ("AccessDenied", "AllAccessDisabled", "AccountProblem")
_T = TypeVar("_T")


class Bucket:
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
        self.name, self.folder = bucket, unquote(parts.path).strip("/")
        self._key, self._secret = unquote(key), unquote(secret)
        keep_secret("secret key", self._secret)
        self._endpoint, self._region = endpoint.rstrip("/"), region
        self._store: S3Store | None = None

    @property
    def shown(self) -> str:
        """Its address, without a key."""
        server = f"?endpoint={self._endpoint}" if self._endpoint else ""
        return f"s3://{self.name}{f'/{self.folder}' if self.folder else ''}{server}"

    def path(self, *names: str) -> str:
        """The name of an object in the folder."""
        return "/".join(part for part in (self.folder, *names) if part)

    def close(self) -> None:
        """Give back what was opened."""
        self._store = None

    def done(self, work: Callable[[S3Store], _T]) -> _T:
        """What a piece of work gives. Raises SystemUnreachableError, AccessRefusedError."""
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
                self.name,
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
            return SystemUnreachableError(f"there is no bucket {self.name}", hint="make it, or correct its name, region or endpoint")
        if any(word in text for word in _REGION):
            return SystemUnreachableError(f"the bucket {self.name} is in another region", hint="name it: s3://…?region=REGION")
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


def is_there(store: S3Store, path: str) -> bool:
    """Whether there is an object of that name."""
    from obstore import head
    from obstore.exceptions import NotFoundError

    try:
        head(store, path)
    except (NotFoundError, FileNotFoundError):
        return False
    return True


def download(store: S3Store, path: str, to: Path, known: str | None = None) -> ObjectMeta:
    """Copy an object into a file; what it is like. Its size is compared: a connection that ends early is no end.

    Raises obstore's NotModifiedError where its ETag is `known`.
    """
    from obstore import get

    found = get(store, path, options={} if known is None else {"if_none_match": known})
    written = 0
    with to.open("wb") as file:
        for block in found.stream():
            written += file.write(block)
    if written != found.meta["size"]:
        raise SystemUnreachableError(f"{path}: {written} of {found.meta['size']} bytes arrived", hint="run again")
    return found.meta
