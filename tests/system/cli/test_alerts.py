"""`trueup alerts`: rules, what fires, a message to try, and thresholds from the history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson

from tests.system.cli.tool import CONFIG, Project, company
from trueup.store import Store, alert
from trueup.store import run as runs

ALERTS = 'alerts: {to: {default: "json://user:s3same@127.0.0.1:1/", Nobody: "json://127.0.0.1:1/"}, rules: {queue_age: off}}\n'


def test_rules_and_what_fires_are_listed_and_no_address_is_shown(tmp_path):
    project = company(tmp_path, ALERTS + CONFIG)
    assert "Nothing fires" in project.trueup("alerts").expect(0).out
    project.trueup("sync").expect(0)
    now = datetime.now(UTC)
    with Store.open(str(tmp_path / ".trueup/state.db")) as store, store.write() as tx:
        alert.keep(tx, alert.Alert("hold", "crm", "Head of Sales", "a guard holds deletes", "look at it", now - timedelta(hours=3)))
        alert.keep(tx, alert.Alert("overdue", "customer", None, "no run", "look", now, now, now))  # over: its owner hears of that
    shown = project.trueup("alerts").expect(0).out
    assert "! a guard holds deletes" in shown
    assert "Head of Sales, not told yet" in shown
    assert "no run" not in shown
    said = project.trueup("alerts", "--json").expect(0).json
    assert [one["rule"] for one in said["firing"]] == ["hold"]
    assert {one["rule"]: one["threshold"] for one in said["rules"]}["queue_age"] is None
    assert said["to"] == ["default", "Nobody"]
    assert "s3same" not in shown + orjson.dumps(said).decode()
    assert "nothing has the owner Nobody" in project.trueup("check").expect(0).out


def test_a_message_that_does_not_arrive_is_status_1_without_its_address(tmp_path):
    project = company(tmp_path, ALERTS + CONFIG)
    ended = project.trueup("alerts", "test", "default").expect(1)
    assert "default (json://…): NOT SENT: JSON: failure" in ended.out
    assert "s3same" not in ended.out + ended.err
    assert "nobody is named 'Sales'" in project.trueup("alerts", "test", "Sales").expect(2).err
    assert "nobody would be told" in company_without(tmp_path / "other").trueup("alerts", "test").expect(2).err


def test_an_address_that_means_nothing_is_found_by_check(tmp_path):
    project = company(tmp_path, ALERTS.replace("json://user", "jsno://user") + CONFIG)
    found = project.trueup("check").expect(1)
    assert "alerts.to.default: no message can be sent to default" in found.out + found.err
    assert "s3same" not in found.out + found.err


def company_without(folder) -> Project:
    folder.mkdir()
    return company(folder)


def test_thresholds_are_proposed_from_the_history(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    assert "not enough history" in project.trueup("alerts", "suggest").expect(0).out
    part = {"systems": {"crm": {"observed": {"updated": 95, "rejected": 5}, "delivered": {}}}}
    summary = orjson.dumps({"entities": {"customer": part}}).decode()
    with Store.open(str(tmp_path / ".trueup/state.db")) as store, store.lock("a test", now=datetime.now(UTC)), store.write() as tx:
        for number in range(20):
            at = datetime.now(UTC) - timedelta(hours=20 - number)
            begun = runs.start(tx, "serve: at 02:00", at=at)
            runs.finish(tx, begun, "done", at=at + timedelta(seconds=60), seconds=240.0 if number == 7 else 60.0, summary=summary)
    found = {one["rule"]: one for one in project.trueup("alerts", "suggest", "--json").expect(0).json}
    assert found["failure_rate"]["now"] == 0.05
    assert found["failure_rate"]["proposed"] == 0.08  # five in a hundred are usual
    assert found["slow_run"]["proposed"] > 3
    assert "alerts: {rules: {slow_run: " in project.trueup("alerts", "suggest").expect(0).out
