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


def bound_to_one_machine(config: Config, entity: str) -> bool:
    """Whether passes of an entity stay where the leader is: a file lies on one machine, and one process alone can keep count of limits."""
    for name in config.entities[entity].mappings:
        system = config.systems[name]
        lies_here = "path" in system.settings and "://" not in str(system.settings["path"])
        if lies_here or {"rows_per_s", "connections"} & system.limits.keys():
            return True
    return False
