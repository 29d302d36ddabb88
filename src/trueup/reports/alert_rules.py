"""The rules of the alerts: what of a picture is a trouble, since when, and what to do. Nothing here knows how somebody is told.

Every rule names what it is about (an entity, a system, both, or nothing) and whose it is. It says no value of any record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from trueup.reports.table import counted, duration, moment

if TYPE_CHECKING:
    from trueup.reports.picture import Picture, RunFacts, SystemPicture

HOUR = timedelta(hours=1)
LATELY = timedelta(minutes=15)
"""So long after the last late delivery the delay counts as broken."""
AT_LEAST_ROWS = 10
USUAL_RUNS = 5
"""From so many runs on it is known what is usual."""
AT_LEAST_S = 300.0
"""A run that is done sooner is not told of, however much longer than usual it took."""
TIMES = 3.0
SETTLING_S = 60.0
"""A server that began so lately has not seen everything: what fired before goes on."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One trouble. `remedy` is what to do; `subject` what it is about, empty for the whole."""

    rule: str
    subject: str
    owner: str | None
    what: str
    remedy: str
    since: datetime


Found = Iterator[Firing]
Judge = Callable[["Picture", float], Found]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: when it fires, in words with `{}` for its threshold, and how it judges."""

    name: str
    words: str
    judge: Judge


def _failure_rate(picture: Picture, limit: float) -> Found:
    for name, entity in picture.entities.items():
        mine = [run for run in picture.runs if run.finished_at is not None and name in run.handled]
        lately = [run for run in mine if run.finished_at is not None and picture.at - run.finished_at <= HOUR]
        failed, handled = sum(run.failed[name] for run in lately), sum(run.handled[name] for run in lately)
        before = [run.failed[name] / run.handled[name] for run in mine if run not in lately and run.handled[name]]
        usual = median(before) if len(before) >= USUAL_RUNS else 0.0
        if failed >= AT_LEAST_ROWS and failed / handled > max(limit, TIMES * usual):
            what = f"{failed / handled:.0%} of the rows of {name} failed in the last hour ({failed:,} of {handled:,}; usual: {usual:.1%})"
            since = min(run.started_at for run in lately if run.failed[name])
            yield Firing("failure_rate", name, entity.owner, what, "`trueup failures` says which and why", since)


def _slow_run(picture: Picture, limit: float) -> Found:
    newest: dict[str, RunFacts] = {}
    usual: dict[str, list[float]] = {}
    for run in picture.runs:
        if run.status == "running" or run.seconds is not None:
            newest[run.kind] = run
    for run in picture.runs:
        if run.seconds is not None and run.status in {"done", "partial"} and newest.get(run.kind) is not run:
            usual.setdefault(run.kind, []).append(run.seconds)
    for kind, run in newest.items():
        before = usual.get(kind, [])
        took = run.seconds if run.seconds is not None else (picture.at - run.started_at).total_seconds()
        if len(before) < USUAL_RUNS or took < AT_LEAST_S or took <= limit * median(before):
            continue
        doing = "takes" if run.seconds is None else "took"
        what = f"run {run.number} ({kind}) {doing} {duration(took)}; usual: {duration(median(before))}"
        owners = {picture.entities[name].owner for name in run.entities if name in picture.entities}
        owner = owners.pop() if len(owners) == 1 else None
        remedy = f"`trueup run {run.number}` says what it did; look whether a system answers slowly"
        yield Firing("slow_run", kind, owner, what, remedy, run.started_at)


def _queue_age(picture: Picture, limit: float) -> Found:
    for name, entity in picture.entities.items():
        if entity.queue_age_s > limit and not entity.paused:
            what = f"changes of {name} have waited for {duration(entity.queue_age_s)} to be looked at ({entity.queue_length:,} wait)"
            remedy = "`trueup runs` shows what is at work, the log of `serve` what keeps it"
            yield Firing("queue_age", name, entity.owner, what, remedy, picture.at - timedelta(seconds=entity.queue_age_s))


def _max_delay(picture: Picture, _limit: float) -> Found:
    for name, entity in picture.entities.items():
        tolerated = entity.max_delay_s
        if tolerated is None or entity.paused:
            continue
        moved = entity.moved
        if moved.late_at is not None and picture.at - moved.late_at <= LATELY:
            what = (
                f"a change of {name} took {duration(moved.latest_s)} to cross; {duration(tolerated)} are tolerated ({moved.late:,} so far)"
            )
            yield Firing("max_delay", name, entity.owner, what, "`trueup status` shows which system lags behind", moved.late_at)
        elif entity.queue_age_s > tolerated:
            what = f"a change of {name} has waited for {duration(entity.queue_age_s)}; {duration(tolerated)} are tolerated"
            since = picture.at - timedelta(seconds=entity.queue_age_s)
            yield Firing("max_delay", name, entity.owner, what, "`trueup runs` shows what is at work", since)
        for system, seconds in entity.behind_s.items():
            if seconds > tolerated:
                what = f"{system} has not taken changes of {name} for {duration(seconds)}; {duration(tolerated)} are tolerated"
                since = picture.at - timedelta(seconds=seconds)
                yield Firing("max_delay", f"{system} in {name}", entity.owner, what, f"bring {system} back; nothing is lost", since)


def _conflicts_age(picture: Picture, limit: float) -> Found:
    for name, entity in picture.entities.items():
        oldest = entity.waiting.oldest_conflict_at
        if oldest is not None and (picture.at - oldest).total_seconds() > limit:
            what = f"{counted(entity.waiting.conflicts, 'conflict')} of {name} to settle, the oldest since {moment(oldest)}"
            yield Firing("conflicts_age", name, entity.owner, what, "`trueup conflicts` lists them", oldest)


def _hold(picture: Picture, limit: float) -> Found:
    for name, entity in picture.entities.items():
        for (system, kind), since in entity.waiting.holds.items():
            if (picture.at - since).total_seconds() >= limit:
                what = f"a guard holds {kind} of {name} in {system}: more than usual at once"
                remedy = "`trueup holds` shows what; then approve, refuse or leave it"
                yield Firing("hold", f"{system} in {name}: {kind}", entity.owner, what, remedy, since)


def _unreachable(picture: Picture, limit: float) -> Found:
    for name, system in picture.systems.items():
        if system.away_s is not None and system.away_s > limit and not _has_its_own(system):
            what = f"{name} has not answered for {duration(system.away_s)}"
            remedy = f"look whether {name} runs and can be reached (`trueup check`); what waits is delivered when it is back"
            yield Firing("unreachable", name, system.owner, what, remedy, picture.at - timedelta(seconds=system.away_s))


def _has_its_own(system: SystemPicture) -> bool:
    """Whether it is left alone for a reason that has a rule of its own."""
    return (system.access is not None and system.access.trouble is not None) or system.spent_until is not None


def _access_ended(picture: Picture, _limit: float) -> Found:
    for name, system in picture.systems.items():
        one = system.access
        if one is not None and one.trouble is not None:
            what = f"access to {name} has ended: {one.trouble}"
            remedy = f"`trueup connect {name}` renews it; its work waits until then, and nothing is lost"
            yield Firing("access_ended", name, system.owner, what, remedy, one.trouble_at or picture.at)


def _access_ends(picture: Picture, limit: float) -> Found:
    for name, system in picture.systems.items():
        one = system.access
        if one is None or one.renew_by is None or one.trouble is not None:
            continue
        if (one.renew_by - picture.at).total_seconds() < limit:
            what = f"access to {name} ends {moment(one.renew_by)}, where it is not used before"
            since = max(one.renewed_at or picture.began_at, one.renew_by - timedelta(seconds=limit))
            yield Firing("access_ends", name, system.owner, what, f"`trueup connect {name}` renews it", since)


def _quota_spent(picture: Picture, limit: float) -> Found:
    for name, system in picture.systems.items():
        until = system.spent_until
        if until is not None and (until - picture.at).total_seconds() > limit:
            what = f"nothing more may be asked of {name} until {moment(until)}: {system.spent_why}"
            remedy = "what waits is done then; ask less often (`when`), or for a larger quota there, if it happens often"
            yield Firing("quota_spent", name, system.owner, what, remedy, picture.at)


def _hook_lapsed(picture: Picture, _limit: float) -> Found:
    for name, system in picture.systems.items():
        for one in system.hooks:
            about = f"{one.object} in {name}" if one.object else name
            if one.trouble is not None:
                what = f"{about} cannot be subscribed to: {one.trouble}"
                remedy = "mend what it says; it is tried again every minute, and meanwhile its changes are found by asking"
                yield Firing("hook_lapsed", about, system.owner, what, remedy, one.trouble_at or picture.at)
            elif one.lapsed_at is not None and picture.at - one.lapsed_at <= HOUR:
                what = f"{name} has ended the subscription to its webhooks by itself{f' ({one.object})' if one.object else ''}"
                remedy = "it was subscribed to again, and everything was looked at; if it happens often, look why its messages were refused"
                yield Firing("hook_lapsed", about, system.owner, what, remedy, one.lapsed_at)


def _slot_lag(picture: Picture, limit: float) -> Found:
    for name, system in picture.systems.items():
        if system.lag_bytes is not None and system.lag_bytes > limit:
            left = "" if system.lag_left_bytes is None else f"; {_size(system.lag_left_bytes)} more, and it gives up"
            what = f"{name} keeps {_size(system.lag_bytes)} of its log for trueup{left}"
            remedy = "look why changes are not looked at (`trueup status`, the log of `serve`); a log that nobody reads fills the disk"
            since = picture.at - timedelta(seconds=system.lag_s or 0.0)
            yield Firing("slot_lag", name, system.owner, what, remedy, since)


def _overdue(picture: Picture, limit: float) -> Found:
    for name, entity in picture.entities.items():
        since = entity.overdue_since
        if since is None or entity.paused or (picture.at - max(since, picture.began_at)).total_seconds() <= limit:
            continue
        what = f"no run of {name} has succeeded since {moment(entity.last_success_at)}; one was due at {moment(since)}"
        yield Firing("overdue", name, entity.owner, what, "`trueup runs` shows how the last ones ended", since)


def _recovered(picture: Picture, limit: float) -> Found:
    for name, entity in picture.entities.items():
        at, rows = entity.moved.recovered_at, entity.moved.recovered_lately
        if at is not None and picture.at - at <= HOUR and rows >= limit:
            systems = ", ".join(sorted(entity.moved.recovered))
            what = f"a sweep of {name} found {counted(rows, 'changed row')} of which nothing was told ({systems})"
            remedy = "look whether the system still tells: its webhooks, replication slot or triggers (`trueup check`)"
            yield Firing("recovered", name, entity.owner, what, remedy, at)


def _bad_signatures(picture: Picture, limit: float) -> Found:
    for name, count in picture.refused.items():
        if count >= limit:
            owner = picture.systems[name].owner if name in picture.systems else None
            what = f"{count:,} messages for {name} were refused in the last hour: a wrong signature, password or token"
            remedy = "if the sender has a new secret, give it to trueup (`webhook: verify`); else somebody is trying"
            yield Firing("bad_signatures", name, owner, what, remedy, picture.at - HOUR)


def _failed_logins(picture: Picture, limit: float) -> Found:
    if picture.failed_logins >= limit and picture.failed_logins_since is not None:
        what = f"{picture.failed_logins:,} logins to the dashboard have failed within the last hour"
        remedy = "`trueup audit --kind access` says for whom and from where; names and addresses are refused for a while by themselves"
        yield Firing("failed_logins", "", None, what, remedy, picture.failed_logins_since)


def _old_secrets(picture: Picture, limit: float) -> Found:
    for name, since in picture.old_secrets.items():
        if (picture.at - since).total_seconds() > limit:
            what = f"the secret {name} has been the same since {since:%Y-%m-%d}"
            yield Firing("old_secrets", name, None, what, f"have a new one made where it is used, then `trueup secrets set {name}`", since)


def _disagreement(picture: Picture, limit: float) -> Found:
    for name, entity in picture.entities.items():
        for system, count in entity.verified.differing.items() if entity.verified else ():
            if count >= limit and entity.verified is not None:
                what = f"{counted(count, 'record')} of {name} in {system} were not as agreed when compared"
                remedy = f"`trueup verify {name}` shows which, `trueup verify {name} --repair` mends"
                yield Firing("disagreement", f"{system} in {name}", entity.owner, what, remedy, entity.verified.at)


def _notices_age(picture: Picture, limit: float) -> Found:
    for name, told in picture.told.items():
        if told.behind_s > limit and told.stopped is None:
            why = f": {told.why}" if told.why else ""
            what = f"{name} has not been told of all changes for {duration(told.behind_s)}{why}"
            remedy = f"look whether its receiver runs (`trueup notices test {name}`); what waits is told when it answers"
            yield Firing("notices_age", name, told.owner, what, remedy, picture.at - timedelta(seconds=told.behind_s))


def _notices_dead(picture: Picture, limit: float) -> Found:
    for name, told in picture.told.items():
        if told.dead >= limit and told.dead_at is not None:
            what = f"{counted(told.dead, 'notice')} for {name} could not be delivered, and {'is' if told.dead == 1 else 'are'} given up"
            remedy = "`trueup notices dead` says which and why, `trueup notices resend` sends them again"
            yield Firing("notices_dead", name, told.owner, what, remedy, told.dead_at)


def _notices_stopped(picture: Picture, _limit: float) -> Found:
    for name, told in picture.told.items():
        if told.stopped is not None and told.stopped_at is not None:
            what = f"{name} is told of no more changes: {told.stopped}"
            remedy = f"`trueup notices start {name}` goes on where it stood; or take it out of `notices`"
            yield Firing("notices_stopped", name, told.owner, what, remedy, told.stopped_at)


def _package_late(picture: Picture, _limit: float) -> Found:
    for name, one in picture.packages.items():
        if one.late_since is not None and not one.missing:
            what = f"the package of {one.entity} that was due at {moment(one.late_since)} has not come ({name})"
            yield Firing("package_late", name, one.owner, what, "ask the sender; `trueup packages` shows the last one", one.late_since)


def _package_missing(picture: Picture, _limit: float) -> Found:
    for name, one in picture.packages.items():
        if one.trouble == "missing" and one.since is not None:
            what = f"a package of {one.entity} is missing ({name}): {one.why}"
            remedy = f"have the sender look for it; to go on without it, `trueup import {name} --next NUMBER`"
            yield Firing("package_missing", name, one.owner, what, remedy, one.since)
        elif one.missing and one.late_since is not None:
            what = f"no package of {one.entity} has come since {moment(one.late_since)}, and more than one was due ({name})"
            yield Firing("package_missing", name, one.owner, what, "ask the sender; `trueup packages` shows the last one", one.late_since)


def _package_half_copied(picture: Picture, limit: float) -> Found:
    for name, one in picture.packages.items():
        if one.trouble == "half-copied" and one.since is not None and (picture.at - one.since).total_seconds() >= limit:
            what = f"{one.about} has been there in part for {duration((picture.at - one.since).total_seconds())} ({name}): {one.why}"
            remedy = "have it copied once more, under another name, and renamed when it is whole; it is then taken by itself"
            yield Firing("package_half_copied", name, one.owner, what, remedy, one.since)


def _package_tampered(picture: Picture, _limit: float) -> Found:
    for name, one in picture.packages.items():
        if one.trouble == "tampered" and one.since is not None:
            what = f"{one.about} is not what was sent, and was refused ({name}): {one.why}"
            remedy = "find out who can write to the place; the next package is taken as usual"
            yield Firing("package_tampered", name, one.owner, what, remedy, one.since)


def _package_refused(picture: Picture, _limit: float) -> Found:
    for name, one in picture.packages.items():
        if one.trouble in {"wrong", "repeat"} and one.since is not None:
            what = f"{one.about} was not taken ({name}): {one.why}"
            yield Firing(
                "package_refused", name, one.owner, what, "tell the sender; the answer beside the package says the same", one.since
            )
        elif one.refused is not None and one.refused_at is not None:
            what = f"a package of {one.entity} was refused by its receiver ({name}): {one.refused}"
            yield Firing(
                "package_refused", name, one.owner, what, "mend what it says; the next package tells all of it anew", one.refused_at
            )


def _package_unanswered(picture: Picture, _limit: float) -> Found:
    for name, one in picture.packages.items():
        if one.unanswered is not None and one.unanswered_since is not None:
            what = f"no acknowledgement of {one.unanswered} has come since {moment(one.unanswered_since)} ({name})"
            yield Firing("package_unanswered", name, one.owner, what, "ask the receiver whether the packages arrive", one.unanswered_since)


def _package_unsent(picture: Picture, _limit: float) -> Found:
    for name, one in picture.packages.items():
        if one.trouble == "unreachable" and one.since is not None:
            done = "sent" if one.direction == "out" else "fetched"
            what = f"packages of {one.entity} cannot be {done} since {moment(one.since)} ({name}): {one.why}"
            yield Firing("package_unsent", name, one.owner, what, "mend that; it is tried again every minute", one.since)


def _report_late(picture: Picture, limit: float) -> Found:
    late = picture.report
    if late is not None and (picture.at - late.since).total_seconds() > limit:
        yield Firing("report_late", "", None, late.what, late.remedy, late.since)


def _channel(picture: Picture, _limit: float) -> Found:
    for to, since in picture.broken_channels.items():
        what = f"alerts for {to} cannot be sent since {moment(since)}"
        yield Firing("channel", to, None, what, "`trueup alerts test` says why; the address stands under `alerts: {to: …}`", since)


RULES = (
    Rule("failure_rate", "more than {} of the rows of an hour failed (10 or more), and three times the usual share", _failure_rate),
    Rule("slow_run", "a run takes more than {} times as long as usual, and over five minutes", _slow_run),
    Rule("queue_age", "a change waits for more than {} to be looked at", _queue_age),
    Rule("max_delay", "a change crosses later than the entity's `max_delay`, or has waited for longer", _max_delay),
    Rule("conflicts_age", "a conflict is open for more than {}", _conflicts_age),
    Rule("hold", "a guard has held something for {}", _hold),
    Rule("unreachable", "a system does not answer for more than {}", _unreachable),
    Rule("slot_lag", "a system keeps more than {} of its log for us", _slot_lag),
    Rule("overdue", "a run of the schedule has been due for more than {} and none succeeded", _overdue),
    Rule("recovered", "a sweep finds {} or more changed rows of which nothing was told", _recovered),
    Rule("bad_signatures", "{} or more messages of a system were refused within an hour", _bad_signatures),
    Rule("failed_logins", "{} or more logins to the dashboard failed within an hour", _failed_logins),
    Rule("old_secrets", "a secret kept by trueup is older than {}", _old_secrets),
    Rule("access_ended", "access to a system has ended, and a person has to renew it", _access_ended),
    Rule("access_ends", "access to a system ends within {} where it is not used before", _access_ends),
    Rule("quota_spent", "nothing more may be asked of an application for more than {}", _quota_spent),
    Rule("hook_lapsed", "a system sends no webhooks any more, or cannot be subscribed to", _hook_lapsed),
    Rule("disagreement", "a comparison finds {} or more records of a system that are not as agreed", _disagreement),
    Rule("notices_age", "a subscriber has not been told of all changes for more than {}", _notices_age),
    Rule("notices_dead", "{} or more notices for a subscriber were given up", _notices_dead),
    Rule("notices_stopped", "a subscriber is told of no more changes: its receiver said so, or a person", _notices_stopped),
    Rule("package_late", "a data package has not come by `expected_by`", _package_late),
    Rule("package_missing", "a data package never came: the one after it is there, or due as well", _package_missing),
    Rule("package_half_copied", "a data package is there in part for {}", _package_half_copied),
    Rule("package_tampered", "a data package is not what its sender wrote", _package_tampered),
    Rule("package_refused", "a data package was not taken, here or by its receiver", _package_refused),
    Rule("package_unanswered", "no acknowledgement came within `answered_within`", _package_unanswered),
    Rule("package_unsent", "a data package could not be put to its place, or fetched", _package_unsent),
    Rule("report_late", "the morning report has not reached everybody {} after its hour", _report_late),
    Rule("channel", "alerts cannot be sent to somebody", _channel),
)  # fmt: skip
NAMES = tuple(rule.name for rule in RULES)
REMEMBERED = frozenset({"queue_age", "max_delay", "unreachable", "slot_lag", "recovered", "bad_signatures", "channel"})
"""Rules about what a server only learns while it runs."""


def judge(picture: Picture, thresholds: Mapping[str, float | None]) -> list[Firing]:
    """Everything that fires; a rule without a threshold is off."""
    found: list[Firing] = []
    for rule in RULES:
        limit = thresholds.get(rule.name)
        if limit is not None:
            found += rule.judge(picture, limit)
    return found


def is_unsure(picture: Picture, rule: str, subject: str) -> bool:
    """Whether it is not known yet that a trouble is over which a server before this one saw."""
    if rule not in REMEMBERED:
        return False
    if rule == "unreachable" and subject in picture.systems:
        system = picture.systems[subject]
        return system.away_s is not None or not system.answered
    return (picture.at - picture.began_at).total_seconds() < SETTLING_S


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
