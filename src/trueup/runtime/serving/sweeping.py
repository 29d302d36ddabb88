"""A sweep that reads beside the passes for single rows, so that these need not wait for the end of a large entity's listing.

Reading takes long, and deciding about the few rows that differ does not. So a thread of its own reads, through connectors of its own, while
the entity's worker goes on with what is told; then the worker concludes the sweep, as a pass like any other. Of rows that a pass has read
by key, or that a delivery has written, since the sweep began, the sweep says nothing: its reading may be the older one. They are noted, and
read again by the next pass. Of a system that tells no keys, and was looked at as a whole meanwhile, the sweep says nothing at all; what it
may then not make there is made when that system is looked at once more.
"""

from __future__ import annotations

from threading import Lock, Thread
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.model import RunSummary
from trueup.runtime.workspace import status_of
from trueup.store import paused, sending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trueup.model import EntitySummary
    from trueup.runtime.pass_options import PassOptions
    from trueup.runtime.workspace import Workspace


class Sweep(Thread):
    """One sweep of one entity. Once begun, `heard` is to be called for every row that is read or written besides."""

    def __init__(self, workspace: Workspace, entity: str, why: tuple[str, ...], options: PassOptions, read: Callable[[], None]) -> None:
        """`workspace` is used by sweeps alone; `read()` hears, in this thread, that everything was read."""
        super().__init__(name=f"sweep {entity}", daemon=True)
        self.why = why
        self.away = options.away
        self.began = workspace.clock()
        self.given_up = False
        self._workspace = workspace
        self._entity = entity
        self._read = read
        self._pauses = self._paused()
        self._touched: dict[str, set[str]] = {}
        self._anew: set[str] = set()
        self._turn = Lock()
        self._number: int | None = None
        self._parts = workspace.pass_in_parts(entity, options, run=self._run_number)
        self._over: tuple[EntitySummary, str | None] | None = None
        self._problem: BaseException | None = None

    def run(self) -> None:
        """Read."""
        try:
            next(self._parts)
        except StopIteration as over:
            self._over = over.value
        except BaseException as error:  # noqa: BLE001  raised again where the sweep is concluded
            self._problem = error
        self._read()

    def heard(self, system: str, keys: Iterable[str | None]) -> None:
        """Rows were read or written by somebody else."""
        with self._turn:
            self._touched.setdefault(system, set()).update(key for key in keys if key is not None)

    def looked_at(self, systems: Iterable[str]) -> None:
        """Systems are about to be looked at as a whole by somebody else."""
        with self._turn:
            self._anew.update(systems)

    @property
    def anew(self) -> frozenset[str]:
        """The systems that others have looked at as a whole."""
        with self._turn:
            return frozenset(self._anew)

    def give_up(self) -> None:
        """What is being read is not wanted any more: others may change the state from now on."""
        self.given_up = True

    def outdated(self) -> bool:
        """Whether the state is one that this reading cannot go on from: something was left open in it, or another system is paused."""
        if self._paused() != self._pauses:
            return True
        with self._workspace.store.read() as db:
            return any(sending.outstanding(db, self._entity, name) for name in self._workspace.config.entities[self._entity].mappings)

    def _paused(self) -> frozenset[tuple[str, str]]:
        with self._workspace.store.read() as db:
            return frozenset(paused.list_(db))

    def drop(self) -> None:
        """Throw away what was read; the thread has ended."""
        self._parts.close()

    def conclude(self) -> tuple[EntitySummary, str | None]:
        """The rest of the sweep, as a run of its own. The state is held, and no other pass of this entity runs.

        Raises what reading raised.
        """
        if self._problem is not None:
            raise self._problem
        store = self._workspace.store
        with store.gathered():
            self._number = self._workspace.begin_run(f"serve: {', '.join(self.why)}", [self._entity])
        try:
            with store.gathered():
                summary, problem = self._rest()
        except BaseException as error:
            words = str(error) if isinstance(error, TrueupError) else type(error).__name__
            self._workspace.end_run(self._number, "failed", self.began, None, words)
            raise
        seconds = (self._workspace.clock() - self.began).total_seconds()
        result = RunSummary(self._number, "done", self.began, seconds, {self._entity: summary}, problem)
        result.status = status_of(result, [] if problem is None else [problem])
        self._workspace.end_run(self._number, result.status, self.began, result, problem)
        return summary, problem

    def _rest(self) -> tuple[EntitySummary, str | None]:
        if self._over is not None:
            return self._over
        with self._turn:
            touched: dict[str, frozenset[str] | None] = {name: frozenset(keys) for name, keys in self._touched.items()}
            touched.update(dict.fromkeys(self._anew))
        try:
            self._parts.send(touched)
        except StopIteration as over:
            done: tuple[EntitySummary, str | None] = over.value
            return done
        raise AssertionError

    def _run_number(self) -> int:
        assert self._number is not None
        return self._number
