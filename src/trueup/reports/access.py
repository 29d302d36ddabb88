"""How access to systems stands: since when a person gave it, how old its token is, and what ended it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, Style, duration, moment, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

SOON_S = 7 * 86_400.0
"""Whoever has to give access again is told so long ahead, where its end is known."""


@dataclass(frozen=True, slots=True)
class Access:
    """One system's. None stands for what nobody knows; `connected_at` None: it was never connected. `lost`: a renewal had no answer."""

    system: str
    kind: str
    connected_at: datetime | None = None
    renewed_at: datetime | None = None
    expires_at: datetime | None = None
    renew_by: datetime | None = None
    scopes: tuple[str, ...] | None = None
    lost: bool = False
    trouble: str | None = None
    trouble_at: datetime | None = None

    def ends_soon(self, now: datetime) -> bool:
        """Whether a person will have to give access again within a week, and nothing can be done about it before."""
        return self.renew_by is not None and (self.renew_by - now).total_seconds() < SOON_S

    def words(self, now: datetime) -> str:
        """What is to be said of it; empty where all is well."""
        if self.connected_at is None:
            return f"not connected: `trueup connect {self.system}`"
        if self.trouble is not None:
            return f"ended: `trueup connect {self.system}`"
        if self.lost:
            return "a renewal was broken off; the next one tells"
        if self.renew_by is not None and self.ends_soon(now):
            return (
                f"ends {moment(self.renew_by)} unless it is used before"
                if self.renew_by > now
                else f"ended: `trueup connect {self.system}`"
            )
        return ""

    def as_json(self) -> dict[str, Any]:
        """The public form; see docs/reference."""
        return {
            "system": self.system,
            "kind": self.kind,
            "connected_at": _second(self.connected_at),
            "renewed_at": _second(self.renewed_at),
            "expires_at": _second(self.expires_at),
            "renew_by": _second(self.renew_by),
            "scopes": None if self.scopes is None else list(self.scopes),
            "trouble": self.trouble,
            "trouble_since": _second(self.trouble_at),
        }


def access_table(found: Mapping[str, Access], now: datetime, style: Style = PLAIN) -> str:
    """All of them as a table."""
    rows = [
        [
            one.system,
            one.kind.replace("_", " "),
            _age(one.connected_at, now),
            _age(one.renewed_at, now),
            one.words(now),
        ]
        for one in found.values()
    ]
    return table(["system", "access by", "connected", "renewed", ""], rows, style)


def access_needs(found: Mapping[str, Access], now: datetime) -> Iterator[str]:
    """What a person has to do, one line each."""
    for one in found.values():
        if one.connected_at is None:
            yield f"{one.system} was never connected: `trueup connect {one.system}`"
        elif one.trouble is not None:
            since = f" since {moment(one.trouble_at)}" if one.trouble_at else ""
            yield f"access to {one.system} has ended{since}: {one.trouble}; `trueup connect {one.system}` renews it, until then work waits"
        elif one.ends_soon(now):
            yield f"access to {one.system} ends {moment(one.renew_by)} where it is not used before"


def _age(at: datetime | None, now: datetime) -> str:
    return "never" if at is None else f"{duration(max(0.0, (now - at).total_seconds()))} ago"


def _second(value: datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")
