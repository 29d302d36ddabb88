"""A picture of how it goes in the text format of Prometheus, and the table of all metrics, from which the reference page is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from trueup.reports.picture import Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from prometheus_client.core import Metric

    from trueup.reports.picture import EntityPicture, PackagePicture, Picture, SystemPicture, ToldPicture, Verified

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
Sample = tuple[tuple[str, ...], float | Spread]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: its name as Prometheus stores it, its kind, its labels, and what it tells."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


def _counter(name: str, labels: str, text: str) -> MetricSpec:
    return MetricSpec(f"trueup_{name}_total", "counter", tuple(labels.split()), text)


def _gauge(name: str, labels: str, text: str) -> MetricSpec:
    return MetricSpec(f"trueup_{name}", "gauge", tuple(labels.split()), text)


def _histogram(name: str, labels: str, text: str) -> MetricSpec:
    return MetricSpec(f"trueup_{name}", "histogram", tuple(labels.split()), text)


METRICS = (
    _gauge("up_since_seconds", "", "When this server began, in seconds since 1970."),
    # runs and passes
    _counter("runs", "entity status", "Runs that ended since the server began, also those typed by hand: done, partial, held, failed."),
    _histogram("run_seconds", "entity", "How long those runs took."),
    _gauge("last_run_timestamp_seconds", "entity", "When the last run of the entity began."),
    _gauge("last_success_timestamp_seconds", "entity", "When the last run began that did everything (done, or partial)."),
    _gauge("overdue_seconds", "entity", "For how long a sweep of the entity has been due; 0: none is."),
    _counter("passes", "entity outcome", "Passes of the server: done, or failed and tried again."),
    _histogram("pass_seconds", "entity", "How long a pass took, without deliveries that went on alone."),
    # records
    _gauge("records", "entity", "Living golden records."),
    _counter("observed", "entity system outcome", "Rows that passes found created, updated, deleted or rejected in a system."),
    _counter("delivered", "entity system outcome", "Rows created, updated or deleted in a system, failed, or stale: changed meanwhile."),
    _counter("recovered", "entity system", "Rows whose change a sweep found, and nothing had told although the system tells of changes."),
    _counter("overruled", "entity", "Edits that the source of truth overruled."),
    _histogram("delay_seconds", "entity", "From a change in one system, as it tells it, to its delivery to the others."),
    _gauge("max_delay_seconds", "entity", "The wait that `max_delay` tolerates."),
    _counter("late", "entity", "Deliveries that took longer than `max_delay`."),
    # what waits
    _gauge("queue_length", "entity", "Rows, systems and sweeps that wait to be looked at."),
    _gauge("queue_age_seconds", "entity", "How long the oldest of them has waited."),
    _gauge("conflicts_open", "entity", "Conflicts that wait for a person."),
    _gauge("conflicts_oldest_seconds", "entity", "For how long the oldest of them has been open."),
    _counter("conflicts_opened", "entity", "Conflicts opened since the server began."),
    _counter("conflicts_decided", "entity rule winner", "Conflicts that a rule decided at once, and whose value won."),
    _histogram("conflict_settle_seconds", "entity by", "How long a conflict was open until a person settled it, or all systems agreed."),
    _gauge("failures_open", "entity system stage", "Rows that could not be read, mapped, matched or written."),
    _gauge("holds_open", "entity system kind", "Parts that a guard holds: 1."),
    _gauge("parked", "entity system", "Rows that might be one of several records."),
    # agreement
    _gauge("verified_timestamp_seconds", "entity", "When the systems were last compared with the golden records."),
    _gauge("verified_rows", "entity system", "Rows compared then."),
    _gauge("disagreement", "entity system kind", "Records that were not as agreed then: differ, missing, extra."),
    # systems
    _gauge("system_up", "system", "Whether the system answers, as far as is known: 1 or 0."),
    _counter("system_calls", "system call outcome", "Calls to a system: ok or error."),
    _histogram("system_call_seconds", "system call", "How long they took; `describe` is little more than a round trip."),
    _gauge("watch_lag_bytes", "system", "What the system keeps for us because it was not confirmed yet (replication slot, binary log)."),
    _gauge("watch_lag_seconds", "system", "The age of the oldest change that was told and is not looked at yet."),
    _gauge("watch_left_bytes", "system", "How much more the system will keep before it gives the slot up."),
    # webhooks
    _counter("webhooks", "system status", "Messages by what they were answered; system is empty for an address that does not exist."),
    _counter("webhook_repeats", "system", "Messages that were known already."),
    _histogram("webhook_accept_seconds", "", "From a message's head to its durable acceptance."),
    _gauge("inbox_waiting", "", "Messages that nobody has looked at yet."),
    _gauge("inbox_age_seconds", "", "The age of the oldest of them."),
    # notices
    _counter("notices", "to outcome", "Notices of changes by what became of each try: ok or failed."),
    _gauge("notices_waiting", "to", "Notices that were tried in vain and are tried again."),
    _gauge("notices_dead", "to", "Notices that were given up and wait for a person."),
    _gauge("notices_behind_seconds", "to", "For how long the subscriber has not been told everything; 0: it has."),
    _gauge("notices_stopped", "to", "Whether the subscriber is told nothing more: 1 or 0."),
    # data packages
    _gauge("package_sequence", "packages direction", "The number of the last package that was sent, or taken or refused; 0: none."),
    _gauge("package_timestamp_seconds", "packages direction", "When that was."),
    _gauge("package_rows", "packages direction", "Records in it."),
    _gauge("package_refused", "packages direction", "Whether the last one was refused, here or by its receiver: 1 or 0."),
    _gauge("package_late_seconds", "packages", "For how long a package should have come; 0: none is late."),
    _gauge("package_unanswered_seconds", "packages", "For how long an answer has been lacking, beyond `answered_within`."),
    _gauge("package_trouble", "packages kind", "What is wrong now: missing, half-copied, tampered, wrong, repeat or unreachable: 1."),
    # the morning report
    _gauge("report_late_seconds", "", "For how long the morning report should have been with everybody; 0: it is, or none is due."),
    # alerts
    _gauge("alerts_firing", "rule", "Alerts that fire now."),
    _counter("alerts_sent", "to outcome", "Messages to an owner: ok or failed."),
)  # fmt: skip


def exposition(picture: Picture) -> str:
    """The whole page."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Collected(picture))
    return generate_latest(registry).decode()


class _Collected(Collector):
    """Gives a picture's values as families of metrics."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def collect(self) -> Iterable[Metric]:
        """One family per metric, in the order of the table; those without a sample are left out."""
        found: dict[str, list[Sample]] = {}
        for name, labels, value in _samples(self._picture):
            found.setdefault(name, []).append((labels, value))
        for metric in METRICS:
            samples = found.pop(metric.name.removeprefix("trueup_").removesuffix("_total"), [])
            if samples:
                yield _family(metric, samples)
        assert not found, f"not in the table of metrics: {', '.join(found)}"


def _family(metric: MetricSpec, samples: Iterable[Sample]) -> Metric:
    labels = list(metric.labels)
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=labels)
        for values, spread in samples:
            assert isinstance(spread, Spread)
            histogram.add_metric(list(values), list(_buckets(spread)), spread.total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=labels)
    for values, number in samples:
        assert not isinstance(number, Spread)
        family.add_metric(list(values), number)
    return family


def _buckets(spread: Spread) -> Iterator[tuple[str, float]]:
    below = 0
    for bound, count in zip((*spread.bounds, float("inf")), spread.counts, strict=True):
        below += count
        yield _bound(bound), below


@lru_cache(maxsize=256)
def _bound(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(value)


def _samples(picture: Picture) -> Iterator[tuple[str, tuple[str, ...], float | Spread]]:
    yield "up_since_seconds", (), picture.began_at.timestamp()
    for name, entity in picture.entities.items():
        yield from _of_entity(name, entity, picture.at)
    for name, system in picture.systems.items():
        yield from _of_system(name, system)
    yield from _of_webhooks(picture)
    for name, told in picture.told.items():
        yield from _of_subscriber(name, told)
    for name, packages in picture.packages.items():
        yield from _of_packages(name, packages, picture.at)
    if picture.reports:
        yield "report_late_seconds", (), _age(None if picture.report is None else picture.report.since, picture.at)
    for rule, number in picture.firing.items():
        yield "alerts_firing", (rule,), number
    for labels, number in picture.sent.items():
        yield "alerts_sent", labels, number


def _of_entity(name: str, entity: EntityPicture, now: datetime) -> Iterator[tuple[str, tuple[str, ...], float | Spread]]:
    moved, waiting = entity.moved, entity.waiting
    for status in ("done", "partial", "held", "failed"):
        yield "runs", (name, status), entity.runs.get(status, 0)
    yield "run_seconds", (name,), entity.run_seconds
    if entity.last_run_at is not None:
        yield "last_run_timestamp_seconds", (name,), entity.last_run_at.timestamp()
    if entity.last_success_at is not None:
        yield "last_success_timestamp_seconds", (name,), entity.last_success_at.timestamp()
    yield "overdue_seconds", (name,), _age(entity.overdue_since, now)
    yield "passes", (name, "done"), moved.passes
    yield "passes", (name, "failed"), moved.troubles
    yield "pass_seconds", (name,), moved.seconds
    yield "records", (name,), waiting.records
    yield from (("observed", (name, *lane), number) for lane, number in moved.observed.items())
    yield from (("delivered", (name, *lane), number) for lane, number in moved.delivered.items())
    yield from (("recovered", (name, system), number) for system, number in moved.recovered.items())
    yield "overruled", (name,), moved.overruled
    yield "delay_seconds", (name,), moved.delays
    if entity.max_delay_s is not None:
        yield "max_delay_seconds", (name,), entity.max_delay_s
        yield "late", (name,), moved.late
    yield "queue_length", (name,), entity.queue_length
    yield "queue_age_seconds", (name,), entity.queue_age_s
    yield "conflicts_open", (name,), waiting.conflicts
    yield "conflicts_oldest_seconds", (name,), _age(waiting.oldest_conflict_at, now)
    yield "conflicts_opened", (name,), entity.opened
    yield from (("conflicts_decided", (name, *how), number) for how, number in moved.decided.items())
    yield from (("conflict_settle_seconds", (name, by), spread) for by, spread in entity.settled.items())
    yield from (("failures_open", (name, *lane), number) for lane, number in waiting.failures.items())
    yield from (("holds_open", (name, *lane), 1) for lane in waiting.holds)
    yield from (("parked", (name, system), number) for system, number in waiting.parked.items())
    yield from _of_verified(name, entity.verified)


def _of_verified(name: str, verified: Verified | None) -> Iterator[tuple[str, tuple[str, ...], float | Spread]]:
    if verified is None:
        return
    yield "verified_timestamp_seconds", (name,), verified.at.timestamp()
    for system, counts in verified.systems.items():
        yield "verified_rows", (name, system), counts.get("rows", 0)
        for kind in ("differ", "missing", "extra"):
            yield "disagreement", (name, system, kind), counts.get(kind, 0)


def _of_system(name: str, system: SystemPicture) -> Iterator[tuple[str, tuple[str, ...], float | Spread]]:
    yield "system_up", (name,), 0 if system.away_s is not None else 1
    for (call, outcome), number in system.calls.items():
        yield "system_calls", (name, call, outcome), number
    for call, spread in system.seconds.items():
        yield "system_call_seconds", (name, call), spread
    lags = (("watch_lag_bytes", system.lag_bytes), ("watch_lag_seconds", system.lag_s), ("watch_left_bytes", system.lag_left_bytes))
    yield from ((metric, (name,), lag) for metric, lag in lags if lag is not None)


def _of_subscriber(name: str, told: ToldPicture) -> Iterator[tuple[str, tuple[str, ...], float | Spread]]:
    for outcome, number in told.tries.items():
        yield "notices", (name, outcome), number
    yield "notices_waiting", (name,), told.waiting
    yield "notices_dead", (name,), told.dead
    yield "notices_behind_seconds", (name,), told.behind_s
    yield "notices_stopped", (name,), 0 if told.stopped is None else 1


def _of_packages(name: str, one: PackagePicture, now: datetime) -> Iterator[tuple[str, tuple[str, ...], float | Spread]]:
    way = (name, one.direction)
    yield "package_sequence", way, one.sequence
    if one.at is not None:
        yield "package_timestamp_seconds", way, one.at.timestamp()
        yield "package_rows", way, one.rows
    yield "package_refused", way, int(one.last_refused)
    if one.direction == "in":
        yield "package_late_seconds", (name,), _age(one.late_since, now)
    else:
        yield "package_unanswered_seconds", (name,), _age(one.unanswered_since, now)
    if one.trouble is not None:
        yield "package_trouble", (name, one.trouble), 1


def _of_webhooks(picture: Picture) -> Iterator[tuple[str, tuple[str, ...], float | Spread]]:
    if picture.webhooks:
        for system, answers in picture.webhooks["answers"].items():
            for status, number in answers.items():
                yield "webhooks", (system, str(status)), number
        for system, number in picture.webhooks["repeats"].items():
            yield "webhook_repeats", (system,), number
        yield "webhook_accept_seconds", (), Spread(picture.webhooks["bounds_s"], picture.webhooks["stored_s"], picture.webhooks["sum_s"])
    if picture.inbox_waiting is not None:
        yield "inbox_waiting", (), picture.inbox_waiting
        yield "inbox_age_seconds", (), picture.inbox_age_s


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
