"""What a server tells of itself: figures that are true, and no value of a record."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from tests.stories.test_serve import Company, opener, wait_until
from trueup.connectors.base import Connector, WriteBatch
from trueup.errors import SystemUnreachableError
from trueup.reports.alert_rules import judge
from trueup.reports.metrics import METRICS
from trueup.runtime.resolve import take_system
from trueup.runtime.serving import server as server_module
from trueup.runtime.serving import verifying
from trueup.runtime.serving.server import Server
from trueup.runtime.workspace import open_workspace
from trueup.store import conflict


def figures(server: Server) -> dict[str, float]:
    """The samples of the page, by name with labels."""
    text = server.knowing.metrics()[1]
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def quiet(server: Server) -> None:
    """Wait until the looks that a start asks for are over."""
    seen, since = -1.0, time.monotonic()
    while time.monotonic() - since < 1.0:
        found = figures(server)
        passes, waiting = found['trueup_passes_total{entity="customer",outcome="done"}'], found['trueup_queue_length{entity="customer"}']
        if waiting or passes != seen:
            seen, since = passes, time.monotonic()
        time.sleep(0.05)


def test_a_change_that_crosses_is_counted_where_it_was_found_and_where_it_arrived(tmp_path: Path):
    company = Company(tmp_path)
    with company.serving() as server:
        quiet(server)
        assert figures(server)['trueup_delay_seconds_count{entity="customer"}'] == 0
        company.rename("crm", "c1@example.org", "Secretive Ada")
        with_letter(company, "1")
        wait_until(lambda: company.name("till", "c1@example.org") == "Secretive Ada", "the change in the till")
        wait_until(lambda: figures(server).get('trueup_delivered_total{entity="customer",outcome="updated",system="till"}') == 1, "counted")
        found = figures(server)
        assert found['trueup_observed_total{entity="customer",outcome="updated",system="crm"}'] == 1
        assert found['trueup_delivered_total{entity="customer",outcome="updated",system="shop"}'] == 1
        assert found['trueup_delay_seconds_count{entity="customer"}'] in {1, 2}  # one that outlasts its pass is counted by itself
        assert 0 < found['trueup_delay_seconds_sum{entity="customer"}'] < 120
        assert found['trueup_records{entity="customer"}'] == 5
        assert found['trueup_system_up{system="crm"}'] == 1
        assert found['trueup_system_calls_total{call="describe",outcome="ok",system="crm"}'] >= 1
        assert found['trueup_system_call_seconds_count{call="write",system="till"}'] == 1
        assert found["trueup_inbox_waiting"] == 0
        assert not server.not_ready
        page = server.knowing.metrics()[1]
    assert str(server.not_ready) == "it is stopping"
    assert "Secretive" not in page + company.told.getvalue()
    assert "example.org" not in page + company.told.getvalue()


def test_runs_are_counted_from_the_state_whoever_made_them(tmp_path: Path):
    company = Company(tmp_path)
    with company.serving() as server:
        wait_until(lambda: figures(server)['trueup_runs_total{entity="customer",status="done"}'] >= 1, "the first sweep is counted")
        before = figures(server)['trueup_runs_total{entity="customer",status="done"}']
        with open_workspace(company.file) as workspace:
            assert workspace.sync(wait_s=60).status == "done"
        wait_until(lambda: figures(server)['trueup_runs_total{entity="customer",status="done"}'] > before, "a typed run is counted")
        assert figures(server)['trueup_overdue_seconds{entity="customer"}'] == 0
    with company.serving() as server:  # counters begin again, what the state says stays
        assert figures(server)['trueup_last_success_timestamp_seconds{entity="customer"}'] > 1e9


def lost(company: Company) -> int:
    """How many values lost by the rule, as the history tells it."""
    with open_workspace(company.file) as workspace, workspace.store.read() as db:
        return int(db.rows("SELECT count(*) FROM history WHERE kind = 'lost' AND rule = 'first_write_wins'")[0][0])


def test_conflicts_are_counted_by_rule_and_winner_and_until_a_person_settles_them(tmp_path: Path):
    company = Company(tmp_path)
    text = company.file.read_text(encoding="utf-8").replace("conflict: last_write_wins", "conflict: first_write_wins")
    company.file.write_text(text, encoding="utf-8")
    company.rename("crm", "c1@example.org", "From crm")
    company.rename("till", "c1@example.org", "From till")
    with company.serving() as server:
        wait_until(
            lambda: {company.name(name, "c1@example.org") for name in ("crm", "shop", "till")} == {"From crm"}, "the rule's decision"
        )
        # Which of the two is looked at first, and so who loses against whom, depends on what the start finds first.
        decided = 'trueup_conflicts_decided_total{entity="customer",rule="first_write_wins",winner='
        wait_until(lambda: sum(count for name, count in figures(server).items() if name.startswith(decided)) == lost(company), "its count")
        assert figures(server)['trueup_conflicts_opened_total{entity="customer"}'] == 0
    company.file.write_text(text.replace("conflict: first_write_wins", "conflict: manual"), encoding="utf-8")
    with company.serving() as server:
        figures(server)
        company.rename("crm", "c2@example.org", "From crm")
        company.rename("till", "c2@example.org", "From till")
        server.workers["customer"].wakes.sweep("a test")
        wait_until(lambda: figures(server)['trueup_conflicts_open{entity="customer"}'] == 1, "the conflict")
        assert figures(server)['trueup_conflicts_opened_total{entity="customer"}'] == 1
        with open_workspace(company.file) as workspace:
            with workspace.store.read() as db:
                number = conflict.open_of(db, "customer")["id"][0]
            take_system(workspace.store, workspace.config, number, "till", workspace.clock())
        wait_until(lambda: figures(server).get('trueup_conflict_settle_seconds_count{by="person",entity="customer"}') == 1, "settled")
        assert figures(server)['trueup_conflicts_open{entity="customer"}'] == 0


@pytest.mark.slow
def test_a_slow_delivery_is_as_late_as_it_was_and_not_as_its_pass(tmp_path: Path):
    company = Company(tmp_path)
    text = company.file.read_text(encoding="utf-8").replace("guard: off", "guard: off\n    max_delay: 1s")
    company.file.write_text(text, encoding="utf-8")
    free = Event()

    def slow(connector: Connector) -> Connector:
        write = connector.write

        def slowly(obj: object, batch: WriteBatch) -> object:
            free.wait(60)
            return write(obj, batch)  # type: ignore[arg-type]

        connector.write = slowly  # type: ignore[method-assign, assignment]
        return connector

    with company.serving(connect=opener(company.config, {"till": slow})) as server:
        quiet(server)
        company.rename("crm", "c1@example.org", "Slow")
        with_letter(company, "1")
        wait_until(lambda: company.name("shop", "c1@example.org") == "Slow", "the change in the shop")
        time.sleep(1.5)
        on_time = figures(server)['trueup_late_total{entity="customer"}']
        free.set()
        wait_until(lambda: figures(server)['trueup_late_total{entity="customer"}'] > on_time, "the late delivery")
        assert figures(server)['trueup_delay_seconds_sum{entity="customer"}'] > 1.5


def test_a_system_that_does_not_answer_is_down_and_its_calls_are_errors(tmp_path: Path):
    company = Company(tmp_path)
    away = Event()

    def mute(connector: Connector) -> Connector:
        describe = connector.describe

        def asked(obj: object) -> object:
            if away.is_set():
                raise SystemUnreachableError("till: no answer", system="till")
            return describe(obj)  # type: ignore[arg-type]

        connector.describe = asked  # type: ignore[method-assign, assignment]
        return connector

    with company.serving(connect=opener(company.config, {"till": mute})) as server:
        away.set()
        server.workers["customer"].wakes.sweep("a test")
        wait_until(lambda: figures(server)['trueup_system_up{system="till"}'] == 0, "the till is away")
        assert figures(server)['trueup_system_calls_total{call="describe",outcome="error",system="till"}'] >= 1
        away.clear()
        wait_until(lambda: figures(server)['trueup_system_up{system="till"}'] == 1, "the till is back")


def test_the_page_names_each_metric_once_with_its_help(tmp_path: Path):
    company = Company(tmp_path)
    with company.serving() as server:
        page = server.knowing.metrics()[1]
    helped = re.findall(r"^# HELP (trueup_\S+) \S", page, re.MULTILINE)
    assert len(helped) == len(set(helped))
    assert set(helped) <= {metric.name for metric in METRICS}


def with_letter(company: Company, key: str) -> None:
    """The crm tells of a row."""
    from datetime import UTC, datetime

    from trueup.store.inbox import Event as Told
    from trueup.store.inbox import Inbox

    with Inbox.open(str(company.folder / ".trueup/state.db")) as inbox:
        inbox.put([Told(system="crm", object="people", key=key, received_at=datetime.now(UTC), body=b"{}")])


def test_what_only_a_sweep_found_is_counted_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_module, "POLL_S", 3_600.0)
    company = Company(tmp_path, watch="off")
    recovered = 'trueup_recovered_total{entity="customer",system="crm"}'

    def swept(server: Server) -> None:
        """A sweep by the clock, and all that it is compared with."""
        before = len(company.events("pass"))
        server.workers["customer"].wakes.sweep("every 900s")
        wait_until(lambda: any("every" in event["why"] for event in company.events("pass")[before:]), "the sweep")
        wait_until(lambda: not server.workers["customer"].recoveries._sweeps, "what it found is settled")

    with company.serving() as server:
        quiet(server)
        server.workers["customer"].recoveries._grace_s = 1.0
        swept(server)
        company.rename("crm", "c1@example.org", "Untold")
        company.ask("crm", "INSERT INTO people VALUES (77, 'new@example.org', 'New')")
        company.rename("shop", "c3@example.org", "The shop never tells")
        swept(server)
        assert company.name("till", "c1@example.org") == "Untold"
        assert figures(server)[recovered] == 2  # the edit and the new row; what we wrote to the crm is none
        company.rename("crm", "c2@example.org", "Told")
        before = len(company.events("pass"))
        server.workers["customer"].wakes.sweep("every 900s")
        with_letter(company, "2")  # as it is swept, or after that
        wait_until(lambda: company.name("till", "c2@example.org") == "Told", "the change")
        wait_until(lambda: any("every" in event["why"] for event in company.events("pass")[before:]), "the sweep")
        wait_until(lambda: not server.workers["customer"].recoveries._sweeps, "what it found is settled")
        swept(server)
        assert figures(server)[recovered] == 2
        assert 'trueup_recovered_total{entity="customer",system="shop"}' not in figures(server)
        assert company.events("recovered by sweep")[0]["rows"] == {"crm": 2}


@pytest.mark.slow
def test_systems_are_compared_when_it_is_time_and_disagreement_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_module, "POLL_S", 3_600.0)
    monkeypatch.setattr(verifying, "LOOK_S", 0.1)
    monkeypatch.setattr(verifying, "QUIET_S", 0.5)
    company = Company(tmp_path, watch="off")
    text = company.file.read_text(encoding="utf-8").replace("guard: off", "guard: off\n    verify: {every: 3s}")
    company.file.write_text(text, encoding="utf-8")
    differ = 'trueup_disagreement{entity="customer",kind="differ",system="till"}'
    with company.serving() as server:
        wait_until(lambda: figures(server).get(differ) == 0, "they agree")
        assert figures(server)['trueup_verified_rows{entity="customer",system="crm"}'] == 5
        company.rename("till", "c1@example.org", "Secretive")
        wait_until(lambda: figures(server).get(differ) == 1, "they do not")
        told = company.events("verified")[-1]
        assert told["differing"] == {"till": 1}
        assert [one.rule for one in judge(server.knowing.picture(), company.config.alerts.thresholds)] == ["disagreement"]
    text = company.file.read_text(encoding="utf-8").replace("verify: {every: 3s}", "verify: off")
    company.file.write_text(text, encoding="utf-8")
    assert company.config.entities["customer"].verify is None
    with company.serving() as server:
        assert figures(server)[differ] == 1  # what was found is known after a restart
    assert "Secretive" not in company.told.getvalue()


def test_no_value_of_a_record_is_told_also_where_it_cannot_be_read_or_written(tmp_path: Path):
    company = Company(tmp_path)
    text = company.file.read_text(encoding="utf-8").replace("name: {type: text,", "name: {type: text, pattern: '[A-Z].*',")
    company.file.write_text(text, encoding="utf-8")
    company.ask("till", "CREATE UNIQUE INDEX one_name ON people (name)")
    with company.serving() as server:
        quiet(server)
        company.rename("crm", "c1@example.org", "secretive and rejected")
        company.rename("crm", "c2@example.org", "Customer 3")  # the till allows nobody twice
        company.rename("shop", "c4@example.org", "Secretive and overruled")
        rejected = 'trueup_failures_open{entity="customer",stage="map",system="crm"}'
        refused = 'trueup_failures_open{entity="customer",stage="write",system="till"}'
        wait_until(lambda: figures(server).get(rejected) == 1 and figures(server).get(refused) == 1, "both failures")
        company.ask("till", "DROP TABLE people")
        server.workers["customer"].wakes.sweep("a test")
        wait_until(lambda: bool(company.events("system away")), "the till is away")
        picture = server.knowing.picture()
        picture.runs = [replace(run, failed={"customer": 50}, handled={"customer": 50}) for run in picture.runs]
        told = str(judge(picture, {**company.config.alerts.thresholds, "unreachable": 0.0, "failure_rate": 0.01}))
        page = server.knowing.metrics()[1]
    assert "unreachable" in told
    assert "failure_rate" in told
    for text in (company.told.getvalue(), page, told):
        assert "ecretive" not in text
        assert "Customer" not in text
        assert "example.org" not in text
