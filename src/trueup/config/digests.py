"""A short digest of every setting of a configuration, so that a later one can be told from it by which paths differ, and by nothing more.

Settings are taken as they are written, before `${NAME}` is filled in. What may be a secret is left out, also where it was written into
the file itself: logins in addresses, and the settings of a system that are named like a secret.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = re.compile(r"pass|secret|token|credential|private|api_?key|auth|user", re.IGNORECASE)
"""Names of settings that may hold a secret, or half of a login."""

_LOGIN = re.compile(r"(://)[^/?#]*@")
_PARAMETER = re.compile(rf"([?&;][^=&;]*(?:{SECRET.pattern})[^=&;]*=)[^&;#]*", re.IGNORECASE)
_NOT_OF_NOTICES = {"url", "secret", "headers"}
_DIGITS = 16


def digests(document: Any) -> dict[str, str]:
    """Dotted path -> digest, for every setting of a configuration as it was read. A list counts as one setting."""
    return dict(sorted(_leaves(document, ())))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
        return
    text = json.dumps(_plain(value, path), sort_keys=True, default=str)
    yield ".".join(path), hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _plain(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, path) for item in value]
    if path[:1] == ("systems",) and any(SECRET.search(name) for name in path[2:]):
        return "(not told)"
    if path[:1] == ("notices",) and set(path[2:3]) & _NOT_OF_NOTICES:
        return "(not told)"
    if isinstance(value, str):
        return _PARAMETER.sub(r"\1", _LOGIN.sub(r"\1", value))
    return value
