"""Each rule fires where it must, is quiet where things are as usual, and can be turned off."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trueup.config.schema import AlertRulesShape
from trueup.reports.access import Access
from trueup.reports.alert_rules import NAMES, judge
from trueup.reports.alert_words import message, threshold
from trueup.reports.picture import (
    EntityPicture,
    HookPicture,
    Moved,
    PackagePicture,
    Picture,
    ReportPicture,
    RunFacts,
    SystemPicture,
    ToldPicture,
    Verified,
    Waiting,
)
from trueup.store.alert import Alert

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DEFAULTS = AlertRulesShape().model_dump()


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def run(number: int, seconds: float | None, *, hours: float = 5, failed: int = 0, handled: int = 100) -> RunFacts:
    begun = ago(hours=hours)
    ended = None if seconds is None else begun + timedelta(seconds=seconds)
    status = "running" if seconds is None else "done"
    return RunFacts(number, "serve: at 02:00", status, begun, ended, seconds, {"customer": handled}, {"customer": failed}, ("customer",))


def picture(entity: EntityPicture | None = None, system: SystemPicture | None = None, **more: object) -> Picture:
    whole = Picture(NOW, ago(days=1), {"customer": entity or EntityPicture()}, {"crm": system or SystemPicture()})
    return replace(whole, **more)  # type: ignore[arg-type]


USUAL = [run(number, 100.0 + number, failed=1) for number in range(8)]
TROUBLES = {
    "failure_rate": picture(runs=[*USUAL, run(9, 60, hours=0.5, failed=30)]),
    "slow_run": picture(runs=[*USUAL, run(9, None, hours=0.2)]),
    "queue_age": picture(EntityPicture(queue_age_s=1_000, queue_length=7)),
    "max_delay": picture(EntityPicture(max_delay_s=60, moved=Moved(late=3, late_at=ago(minutes=5), latest_s=90))),
    "conflicts_age": picture(EntityPicture(waiting=Waiting(conflicts=2, oldest_conflict_at=ago(days=8)))),
    "hold": picture(EntityPicture(waiting=Waiting(holds={("crm", "deletes"): ago(minutes=2)}))),
    "unreachable": picture(system=SystemPicture(away_s=400, away_why="refused")),
    "slot_lag": picture(system=SystemPicture(lag_bytes=2_000_000_000, lag_left_bytes=5_000_000_000)),
    "overdue": picture(EntityPicture(overdue_since=ago(hours=2), last_success_at=ago(days=1))),
    "recovered": picture(EntityPicture(moved=Moved(recovered_at=ago(minutes=1), recovered_lately=4))),
    "bad_signatures": picture(refused={"crm": 25}),
    "failed_logins": picture(failed_logins=30, failed_logins_since=ago(minutes=50)),
    "old_secrets": picture(old_secrets={"CRM_PASSWORD": ago(days=400)}),
    "access_ended": picture(system=SystemPicture(away_s=900, access=Access("crm", "authorization_code", trouble="it was taken back"))),
    "access_ends": picture(system=SystemPicture(access=Access("crm", "authorization_code", ago(days=50), ago(days=2), renew_by=NOW))),
    "quota_spent": picture(system=SystemPicture(away_s=400, spent_until=NOW + timedelta(hours=5), spent_why="its limit is used up")),
    "hook_lapsed": picture(system=SystemPicture(hooks=[HookPicture("contacts", lapsed_at=ago(minutes=1))])),
    "disagreement": picture(EntityPicture(verified=Verified(ago(hours=9), {"crm": {"rows": 9, "differ": 2, "missing": 1, "extra": 0}}))),
    "notices_age": picture(told={"flow": ToldPicture(behind_s=4_000, why="nobody listens there")}),
    "notices_dead": picture(told={"flow": ToldPicture(dead=2, dead_at=ago(minutes=1))}),
    "notices_stopped": picture(told={"flow": ToldPicture(stopped="a person stopped it", stopped_at=ago(hours=1), behind_s=4_000)}),
    "package_late": picture(packages={"nightly": PackagePicture(direction="in", late_since=ago(hours=1))}),
    "package_missing": picture(packages={"nightly": PackagePicture(direction="in", late_since=ago(days=2), missing=True)}),
    "package_half_copied": picture(packages={"nightly": PackagePicture(trouble="half-copied", about="a-000002", since=ago(hours=1))}),
    "package_tampered": picture(packages={"nightly": PackagePicture(trouble="tampered", about="a-000002", since=ago(minutes=1))}),
    "package_refused": picture(packages={"nightly": PackagePicture(refused="wrong: a row is missing", refused_at=ago(minutes=1))}),
    "package_unanswered": picture(packages={"nightly": PackagePicture(unanswered="a-000002", unanswered_since=ago(hours=7))}),
    "package_unsent": picture(packages={"nightly": PackagePicture(trouble="unreachable", why="no such folder", since=ago(minutes=1))}),
    "report_late": picture(report=ReportPicture(ago(hours=1), "the report due at 11:00 was not made", "look")),
    "channel": picture(broken_channels={"Head of Sales": ago(minutes=1)}),
}
QUIET = [
    picture(),
    picture(runs=[*USUAL, run(9, 250)]),
    picture(runs=[*USUAL, run(9, 60, hours=0.5, failed=4)]),  # few rows
    picture(runs=[run(number, 60, failed=30) for number in range(8)] + [run(9, 60, hours=0.5, failed=31)]),  # as many as ever
    picture(runs=[run(number, 1.0) for number in range(8)] + [run(9, 20.0)]),  # long for its kind, and short
    picture(EntityPicture(queue_age_s=1_000, paused=True, overdue_since=ago(hours=2), max_delay_s=1)),
    picture(EntityPicture(overdue_since=ago(hours=2)), began_at=ago(minutes=5)),  # it has just begun, and catches up
    picture(EntityPicture(max_delay_s=60, moved=Moved(late=3, late_at=ago(hours=2), latest_s=90))),
    picture(report=ReportPicture(ago(minutes=10), "the report due at 11:50 was not made", "look")),  # it is being made
    picture(system=SystemPicture(access=Access("crm", "authorization_code", ago(days=50), ago(days=2), renew_by=NOW + timedelta(days=58)))),
    picture(told={"flow": ToldPicture(waiting=1, behind_s=400, why="it answered 500")}),  # it is tried again
]


def test_there_is_a_trouble_for_each_rule_and_a_setting():
    assert set(TROUBLES) == set(NAMES) == set(DEFAULTS)


@pytest.mark.parametrize("rule", NAMES)
def test_a_trouble_is_told_with_since_when_and_what_to_do(rule):
    (found,) = judge(TROUBLES[rule], DEFAULTS)
    assert found.rule == rule
    assert found.what
    assert found.remedy
    assert found.since <= NOW
    assert judge(TROUBLES[rule], DEFAULTS | {rule: None}) == []


@pytest.mark.parametrize("number", range(len(QUIET)))
def test_what_is_usual_is_quiet(number):
    assert judge(QUIET[number], DEFAULTS) == []


def test_a_system_that_waits_longer_than_tolerated_is_named_with_its_entity():
    (found,) = judge(picture(EntityPicture(max_delay_s=60, behind_s={"crm": 90.0}, owner="Sales")), DEFAULTS)
    assert (found.rule, found.subject, found.owner) == ("max_delay", "crm in customer", "Sales")


def test_thresholds_are_shown_as_they_are_written():
    shown = {rule: threshold(rule, DEFAULTS[rule]) for rule in NAMES}
    assert shown["queue_age"] == "15m"
    assert shown["failure_rate"] == "5%"
    assert shown["slot_lag"] == "1GB"
    assert shown["channel"] == "on"
    written = {
        rule: float(text) if rule in {"slow_run", "recovered", "bad_signatures", "failed_logins", "disagreement", "notices_dead"} else text
        for rule, text in shown.items()
    }
    assert AlertRulesShape.model_validate(written).model_dump() == DEFAULTS


def test_a_message_says_what_lasts_and_what_is_over():
    lasting = Alert("hold", "x", None, "a guard holds deletes", "look", ago(hours=1))
    over = Alert("queue_age", "y", None, "changes wait", "look", ago(hours=3), ago(hours=2), ago(hours=1))
    title, body = message([lasting, over], NOW, "trueup.yaml")
    assert title == "trueup: a guard holds deletes"
    assert "What to do: look." in body
    assert "Over: changes wait." in body
    assert "2 h" in body
    assert message([over], NOW, "x")[0] == "trueup: over: changes wait"
