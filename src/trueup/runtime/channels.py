"""Sends messages to people through apprise, which is loaded when something is sent. An address is never shown: it holds passwords."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PATIENCE_S = 30.0
LONGEST = 160
Tone = Literal["failure", "success", "info"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one message: `why` says what went wrong, None where nothing did."""

    why: str | None = None


def send(
    addresses: Sequence[str], title: str, body: str, tone: Tone, *, patience_s: float = PATIENCE_S, files: Sequence[Path] = ()
) -> Sent:
    """Send one message to every address, with files where its channel can carry them; gives up after a while. Never raises."""
    import apprise

    logging.getLogger("apprise").propagate = False  # what it logs may hold what a server answered
    asset = apprise.AppriseAsset(app_id="trueup", app_desc="trueup", app_url="", async_mode=False)
    known = apprise.Apprise(asset=asset)
    bad = sum(1 for address in addresses if not known.add(address))
    if bad:
        return Sent(f"{bad} of {len(addresses)} addresses mean nothing to apprise: see its list of services for how they are written")
    kind = {"failure": apprise.NotifyType.WARNING, "success": apprise.NotifyType.SUCCESS, "info": apprise.NotifyType.INFO}[tone]
    try:
        result = known.notify(
            body=body,
            title=title,
            notify_type=kind,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=patience_s,
            attach=[str(file) for file in files] or None,
        )
    except Exception as error:  # noqa: BLE001  a service that is not ours must not end a server
        return Sent(f"{type(error).__name__} while it was sent")
    if result:
        return Sent()
    failed = [item.name for item in result if not item]
    return Sent(f"{', '.join(dict.fromkeys(failed)) or 'the channel'}: {result.status.name.lower()}"[:LONGEST])


def unknown(addresses: Sequence[str]) -> int:
    """How many of them mean nothing to apprise; nothing is sent."""
    import apprise

    logging.getLogger("apprise").propagate = False
    known = apprise.Apprise(asset=apprise.AppriseAsset(app_id="trueup", async_mode=False))
    return sum(1 for address in addresses if not known.add(address))


def shown(address: str) -> str:
    """An address for people: the kind of channel alone."""
    return address.partition("://")[0] + "://…"
