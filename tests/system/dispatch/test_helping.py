"""Workers that help: parts of a large system are read, and batches written, by several at once, for a command and for each other."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import pytest

from tests.system.dispatch.firm import Firm, wait_until
from trueup.connectors.base import Page, Part
from trueup.errors import LeaseLostError, StateLockedError
from trueup.runtime import together
from trueup.runtime.dispatch import membership
from trueup.runtime.dispatch.working import WorkerProcess
from trueup.runtime.serving.events import Log
from trueup.runtime.workspace import Workspace, open_workspace
from trueup.store import member

ROWS = 1000
PATIENCE_S = 60.0


class Crew:
    """Workers as threads of this process, each with a store of its own; what they do is counted by kind.

    Whoever has asked them to read begins with its own part when one of them has begun.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told = io.StringIO()
        self.done: Counter[str] = Counter()
        self.gates: list[Event] = []  # whoever reads a part next waits for one of them
        self.opened: list[Event] = []  # those that somebody waits for or has waited for
        self.held: list[WorkerProcess] = []
        self._begun = Event()
        self._turn = Lock()
        for kind in ("read", "write"):
            self._count(monkeypatch, kind)
        own = together.Together._own

        def not_alone(reading: together.Together, part: Part) -> Iterator[Page]:
            assert self._begun.wait(PATIENCE_S), "nobody began to read a part"
            return own(reading, part)

        monkeypatch.setattr(together.Together, "_own", not_alone)

    def _count(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        original: Callable[..., Any] = getattr(WorkerProcess, f"_{kind}")

        def counted(worker: WorkerProcess, *words: Any) -> Any:
            with self._turn:
                gate = self.gates.pop() if kind == "read" and self.gates else None
                self.opened += [gate] if gate is not None else []
            if kind == "read":
                self._begun.set()
            if gate is not None:
                self.held.append(worker)
                gate.wait(PATIENCE_S)
            result = original(worker, *words)
            with self._turn:
                self.done[kind] += 1
            return result

        monkeypatch.setattr(WorkerProcess, f"_{kind}", counted)

    @contextmanager
    def at_work(self, firm: Firm, count: int) -> Iterator[list[WorkerProcess]]:
        """So many workers."""
        with open_workspace(firm.file) as workspace:
            workers = [WorkerProcess(workspace.config, log=Log(self.told)) for _number in range(count)]
        threads = [Thread(target=self._run, args=(worker,), daemon=True) for worker in workers]
        try:
            for thread, worker in zip(threads, workers, strict=True):
                thread.start()
                assert worker.ready.wait(PATIENCE_S)
            yield workers
        finally:
            for gate in self.opened:
                gate.set()
            for worker in workers:
                worker.stop()
            for thread in threads:
                thread.join(PATIENCE_S)
                assert not thread.is_alive()
        assert '"event":"defect"' not in self.told.getvalue(), self.told.getvalue()

    def _run(self, worker: WorkerProcess) -> None:
        with suppress(LeaseLostError):
            worker.run()


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Nobody yet. Parts are small, and whoever reads asks for help at once."""
    monkeypatch.setattr(together, "PART_BYTES", 8_000)
    monkeypatch.setattr(together, "WORTH_S", -1.0)
    return Crew(monkeypatch)


def _grown(folder: Path, url: str) -> Firm:
    """A firm into which many customers came since its first sync; nobody has looked yet."""
    firm = Firm(folder, url)
    firm.ask("INSERT INTO crm_people (email, name) SELECT 'n' || n, 'New ' || n FROM generate_series(1, %s) AS n", ROWS)
    return firm


@pytest.mark.slow
def test_workers_read_and_write_for_a_command(tmp_path: Path, postgres_url: str, crew: Crew) -> None:
    firm = _grown(tmp_path, postgres_url)
    with crew.at_work(firm, 1), open_workspace(firm.file) as workspace:
        result = workspace.sync(full=True)
        assert result.status == "done", result.error
        assert result.entities["customer"].systems["crm"].observed.read == ROWS + 5
        assert result.entities["customer"].systems["till"].delivered.created == ROWS
        assert crew.done["read"] > 0
        assert crew.done["write"] > 0
        again = workspace.sync(full=True)  # the workspace goes on as one that nobody helps, or that others help again
        assert again.entities["customer"].systems["crm"].observed.unchanged == ROWS + 5
        assert firm.ask("SELECT count(*) FROM trueup.job") == [(0,)]
    firm.agrees()


@pytest.mark.slow
def test_what_is_edited_while_many_read_is_neither_lost_nor_doubled(tmp_path: Path, postgres_url: str, crew: Crew) -> None:
    firm = _grown(tmp_path, postgres_url)
    firm.ask("INSERT INTO till_people (id, email, name) SELECT 5000 + n, 'n' || n, 'New ' || n FROM generate_series(1, %s) AS n", ROWS)
    crew.gates = [gate := Event()]
    with crew.at_work(firm, 1), open_workspace(firm.file) as workspace:
        found: list[Any] = []
        running = Thread(target=lambda: found.append(workspace.sync(full=True)))
        running.start()
        wait_until(lambda: bool(crew.held), "a part that is held up", PATIENCE_S)
        firm.ask("UPDATE till_people SET id = id + 10000 WHERE mod(id, 3) = 0")  # rows that move out of every part into another one
        firm.ask("UPDATE crm_people SET name = name || ' the Second' WHERE mod(id, 7) = 0")
        firm.ask("DELETE FROM crm_people WHERE email IN ('n11', 'n222')")
        firm.ask("INSERT INTO crm_people (email, name) VALUES ('late', 'Late')")
        gate.set()
        running.join(PATIENCE_S)
        assert found[0].status in {"done", "partial"}, found[0].error
        assert found[0].entities["customer"].systems["till"].observed.read == ROWS + 5, "as many as when it began"
        assert found[0].entities["customer"].missing == 0, "nobody was gone when it began"
        assert crew.done["read"] > 0
        workspace.sync(full=True)
    for system in ("shop", "till"):
        assert firm.ask(f"SELECT email FROM {system}_people GROUP BY email HAVING count(*) > 1") == [], system
        assert firm.name(system, "late") == "Late"
    renamed = firm.ask("SELECT email, name FROM crm_people WHERE mod(id, 7) = 0")
    assert renamed
    assert firm.missing("till", dict(renamed)) == {}


@pytest.mark.slow
def test_a_command_that_is_helped_has_the_state_alone(tmp_path: Path, postgres_url: str, crew: Crew) -> None:
    firm = _grown(tmp_path, postgres_url)
    crew.gates = [gate := Event()]
    with crew.at_work(firm, 1), open_workspace(firm.file) as workspace, open_workspace(firm.file) as other:
        found: list[Any] = []
        running = Thread(target=lambda: found.append(workspace.sync(full=True)))
        running.start()
        wait_until(lambda: bool(crew.held), "a part that is held up", PATIENCE_S)
        with pytest.raises(StateLockedError):
            other.sync()
        with pytest.raises(StateLockedError):
            other.store.lock("serve", 0.3, now=other.clock()).__enter__()
        gate.set()
        running.join(PATIENCE_S)
        assert found[0].status == "done"
        assert other.sync().status == "done"


@pytest.mark.slow
def test_a_part_of_a_worker_that_is_gone_is_read_by_another(
    tmp_path: Path, postgres_url: str, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "LEASE_S", 1.5)
    monkeypatch.setattr(member, "GRACE_S", 0.3)
    monkeypatch.setattr(membership, "BEAT_S", 0.2)
    firm = _grown(tmp_path, postgres_url)
    crew.gates = [gate := Event()]
    with crew.at_work(firm, 2), open_workspace(firm.file) as workspace:
        found: list[Any] = []
        running = Thread(target=lambda: found.append(workspace.sync(full=True)))
        running.start()
        wait_until(lambda: bool(crew.held), "a part that is held up", PATIENCE_S)
        lease = crew.held[0].member
        assert lease is not None
        lease.lease.renew = lambda: None  # type: ignore[method-assign]  # not heard of any more
        running.join(PATIENCE_S)
        assert found[0].status == "done"
        assert found[0].entities["customer"].systems["crm"].observed.read == ROWS + 5
        gate.set()
    firm.agrees()


@pytest.mark.slow
def test_what_was_read_for_a_command_that_is_gone_is_forgotten(
    tmp_path: Path, postgres_url: str, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "LEASE_S", 1.5)
    monkeypatch.setattr(member, "GRACE_S", 0.3)
    monkeypatch.setattr(membership, "BEAT_S", 0.2)
    firm = _grown(tmp_path, postgres_url)
    crew.gates = [gate := Event()]
    with crew.at_work(firm, 1):
        workspace = open_workspace(firm.file)
        gone = Thread(target=_until_refused, args=(workspace,))
        gone.start()
        wait_until(lambda: bool(crew.held), "a part that is held up", PATIENCE_S)
        lease = workspace.store.lease
        assert lease is not None
        lease.renew = lambda: None  # type: ignore[method-assign]
        gate.set()
        wait_until(lambda: firm.ask("SELECT count(*) FROM trueup.job") == [(0,)], "that nothing is left", PATIENCE_S)
        gone.join(PATIENCE_S)
        workspace.close()
    firm.agrees()


def _until_refused(workspace: Workspace) -> None:
    with suppress(LeaseLostError):
        workspace.sync(full=True)
