"""Alerts in words: the message that their owner gets, and the lists that `trueup alerts` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from trueup.reports.alert_rules import RULES
from trueup.reports.table import PLAIN, Style, counted, duration, moment, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.model import Alerts
    from trueup.store.alert import Alert


class Suggested(Protocol):
    """A threshold that the history proposes."""

    @property
    def rule(self) -> str:
        """Of which rule."""
        ...

    @property
    def now(self) -> float | None:
        """The present one; None: off."""
        ...

    @property
    def proposed(self) -> float | None:
        """The one proposed."""
        ...

    @property
    def why(self) -> str:
        """Why."""
        ...


SECONDS = frozenset(
    {
        "queue_age",
        "conflicts_age",
        "hold",
        "unreachable",
        "overdue",
        "old_secrets",
        "access_ends",
        "quota_spent",
        "notices_age",
        "package_half_copied",
        "report_late",
    }
)
SWITCHES = frozenset(
    {
        "max_delay",
        "access_ended",
        "hook_lapsed",
        "notices_stopped",
        "channel",
        *(f"package_{what}" for what in ("late", "missing", "tampered", "refused", "unanswered", "unsent")),
    }
)


def threshold(rule: str, value: float | None) -> str:
    """A threshold as one would write it."""
    if value is None:
        return "off"
    if rule in SWITCHES:
        return "on"
    if rule in SECONDS:
        return _span(value)
    if rule == "failure_rate":
        return f"{value:.0%}" if value >= 0.01 else f"{value:.2%}"
    if rule == "slot_lag":
        return f"{value / 1e9:g}GB" if value >= 1e9 else f"{value / 1e6:g}MB"
    return f"{value:g}"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def message(alerts: Sequence[Alert], now: datetime, place: str) -> tuple[str, str]:
    """Title and text of one message about these; `place` names the installation."""
    lasting = [alert for alert in alerts if alert.ended_at is None]
    over = [alert for alert in alerts if alert.ended_at is not None]
    if lasting:
        title = f"trueup: {lasting[0].what}" if len(lasting) == 1 else f"trueup: {counted(len(lasting), 'trouble')}"
    else:
        title = "trueup: over: " + (over[0].what if len(over) == 1 else counted(len(over), "trouble"))
    lines = []
    for alert in lasting:
        again = "" if alert.told_at is None else f" (told before, for {duration((now - alert.since).total_seconds())} now)"
        lines += [f"{alert.what}.", f"  Since: {moment(alert.since)}{again}", f"  What to do: {alert.remedy}.", ""]
    for alert in over:
        lasted = duration(((alert.ended_at or now) - alert.since).total_seconds())
        lines += [f"Over: {alert.what}.", f"  From {moment(alert.since)} to {moment(alert.ended_at)} ({lasted}).", ""]
    lines.append(f"-- {place}; `trueup alerts` lists what fires now")
    return title, "\n".join(lines)


def rules_json(alerts: Alerts) -> list[dict[str, Any]]:
    """The rules for programs."""
    found: Mapping[str, float | None] = alerts.thresholds
    return [{"rule": rule.name, "threshold": found.get(rule.name), "meaning": _meaning(rule.name, rule.words, alerts)} for rule in RULES]


def _meaning(name: str, words: str, alerts: Alerts) -> str:
    value = alerts.thresholds.get(name)
    return words.format("…" if value is None else threshold(name, value))


def alert_json(alert: Alert) -> dict[str, Any]:
    """One alert for programs."""
    names = ("rule", "subject", "owner", "what", "remedy", "since", "told_at", "ended_at")
    return {name: getattr(alert, name) for name in names}


def alerts_text(alerts: Alerts, firing: Sequence[Alert], style: Style = PLAIN) -> str:
    """Rules, and what fires now."""
    rows = [[rule.name, threshold(rule.name, alerts.thresholds.get(rule.name)), _meaning(rule.name, rule.words, alerts)] for rule in RULES]
    lines = [table(("rule", "threshold", "fires when"), rows, style, open_end=True), ""]
    if alerts.to:
        lines.append(f"Told: {', '.join(alerts.to)}; again every {threshold('hold', alerts.repeat_s)} as long as it lasts.")
    else:
        lines.append("Nobody is told: the configuration has no `alerts: {to: …}`.")
    lines.append("")
    now = [alert for alert in firing if alert.ended_at is None]
    if not now:
        lines.append("Nothing fires, as `trueup serve` last saw it.")
    for alert in now:
        told = "not told yet" if alert.told_at is None else f"told {moment(alert.told_at)}"
        lines += [
            f"{style.paint('!', 'warn')} {alert.what}",
            f"    since {moment(alert.since)}; {alert.owner or 'no owner'}, {told}",
            f"    {alert.remedy}",
        ]
    return "\n".join(lines)


def suggestions_text(found: Sequence[Suggested], style: Style = PLAIN) -> str:
    """Thresholds proposed from the history, and how to write them."""
    if not found:
        return "There is not enough history yet: thresholds are proposed from ten runs, or ten settled conflicts, on."
    rows = [[one.rule, threshold(one.rule, one.now), threshold(one.rule, one.proposed), one.why] for one in found]
    lines = [table(("rule", "now", "proposed", "because"), rows, style, open_end=True)]
    changed = [f"{one.rule}: {threshold(one.rule, one.proposed)}" for one in found if one.proposed != one.now]
    if changed:
        lines += ["", "To take them over:", "", "    alerts: {rules: {" + ", ".join(changed) + "}}"]
    return "\n".join(lines)
