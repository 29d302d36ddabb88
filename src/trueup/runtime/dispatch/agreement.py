"""What processes that share a state must have in common: the same entities, mapped in the same way."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trueup.model import Config

_COMMON = re.compile(r"entities\.|systems\.[^.]+\.connector$")


def agreed(config: Config) -> str:
    """A digest of what must be the same; addresses, logins and limits may differ from one machine to another."""
    lines = [f"{path}={digest}" for path, digest in sorted(config.digests.items()) if _COMMON.match(path)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
