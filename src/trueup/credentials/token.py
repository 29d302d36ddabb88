"""A token as it is held and kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Token:
    """What a server gave. `refresh` None: it is not renewed by one; `lifetime_s` None: nobody said; `scopes` None: as asked for."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    obtained_at: datetime
    lifetime_s: float | None = None
    scopes: tuple[str, ...] | None = None
    kept: Mapping[str, str] = field(default_factory=dict, repr=False)
    refresh_lifetime_s: float | None = None

    @property
    def expires_at(self) -> datetime | None:
        """When it ends by this machine's clock; None: not known."""
        return None if self.lifetime_s is None else self.obtained_at + timedelta(seconds=self.lifetime_s)

    @property
    def renew_by(self) -> datetime | None:
        """Until when it can be renewed; None: not known."""
        return None if self.refresh_lifetime_s is None else self.obtained_at + timedelta(seconds=self.refresh_lifetime_s)

    def as_text(self) -> str:
        """How it is kept, to be sealed."""
        return json.dumps(
            {
                "access": self.access,
                "refresh": self.refresh,
                "obtained_at": self.obtained_at.isoformat(),
                "lifetime_s": self.lifetime_s,
                "scopes": self.scopes,
                "kept": dict(self.kept),
                "refresh_lifetime_s": self.refresh_lifetime_s,
            },
            ensure_ascii=False,
        )


def from_text(text: str) -> Token:
    """A token that was kept. Raises ValueError for anything else."""
    try:
        said = json.loads(text)
        scopes = said["scopes"]
        return Token(
            access=str(said["access"]),
            refresh=said["refresh"],
            obtained_at=datetime.fromisoformat(said["obtained_at"]).astimezone(UTC),
            lifetime_s=said["lifetime_s"],
            scopes=None if scopes is None else tuple(scopes),
            kept=dict(said["kept"]),
            refresh_lifetime_s=said["refresh_lifetime_s"],
        )
    except (TypeError, KeyError) as error:
        raise ValueError("this is no token") from error
