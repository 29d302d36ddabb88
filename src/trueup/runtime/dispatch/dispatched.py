"""Passes of a server that leads: by a worker where there is one, in the server's own threads where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.runtime.dispatch import words
from trueup.runtime.dispatch.agreement import bound_to_one_machine
from trueup.runtime.dispatch.anew import anew
from trueup.runtime.workspace import Workspace
from trueup.store import job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from trueup.model import Config, EntitySummary
    from trueup.runtime.dispatch.counted import Counted
    from trueup.runtime.dispatch.team import Team
    from trueup.runtime.pass_options import PassOptions
    from trueup.runtime.workspace import Passed


class Dispatched(Workspace):
    """A workspace whose passes are run by whoever is there for it; each of them ends in `Workspace.one_pass`, here or elsewhere."""

    def __init__(self, team: Team, config: Config, **options: Any) -> None:
        """`options` are those of a workspace."""
        super().__init__(config, **options)
        self._team = team
        self._unsure: set[str] = set(config.entities)  # somebody whom an earlier leader asked may still be at work on these

    def one_pass(
        self,
        name: str,
        options: PassOptions,
        *,
        run: int | Callable[[], int] | None,
        tick: Callable[[str, str, int], None] | None = None,
    ) -> tuple[EntitySummary, str | None]:
        """See Workspace.one_pass."""
        begun = False
        if run is not None and name not in self._team.apart and self._is_elsewhere(name):
            self._unsure.add(name)
            number = self._team.ask("pass", name, words.pass_wanted(options, None if callable(run) else run))
            answer = self._team.answer_to(number)
            if answer is not None:
                return words.pass_summary(answer, lambda counted: self._hear(counted, options))
            begun = True  # perhaps, by a worker that is gone
        self._nobody_is_at(name)

        def here(wanted: PassOptions) -> tuple[EntitySummary, str | None]:
            return super(Dispatched, self).one_pass(name, wanted, run=run, tick=tick)

        return anew(here, options) if begun else here(options)

    def _hear(self, counted: Counted, options: PassOptions) -> None:
        """What a worker counted is counted here."""
        if self.systems.calls is not None:
            counted.add_calls(self.systems.calls)
        options.elsewhere(counted.tally)

    def may_read_apart(self, name: str) -> bool:
        """See Workspace.may_read_apart: not where workers run the passes, for they do not tell which rows they read.

        Until the pass that is begun for that is over, all others of this entity are run here.
        """
        if self._is_elsewhere(name) or not super().may_read_apart(name):
            return False
        self._nobody_is_at(name)
        self._team.apart.add(name)
        return True

    def pass_in_parts(
        self,
        name: str,
        options: PassOptions,
        *,
        run: int | Callable[[], int] | None,
        tick: Callable[[str, str, int], None] | None = None,
    ) -> Generator[None, Mapping[str, frozenset[str] | None], Passed]:
        """See Workspace.pass_in_parts."""
        try:
            return (yield from super().pass_in_parts(name, options, run=run, tick=tick))
        finally:
            if options.apart:
                self._team.apart.discard(name)

    def _is_elsewhere(self, name: str) -> bool:
        return not bound_to_one_machine(self.config, name) and bool(self._team.workers())

    def _nobody_is_at(self, name: str) -> None:
        """Wait until no worker is at work on an entity any more."""
        while name in self._unsure:
            rung = self._team.bell.count
            self._team.store.must_be_ours()
            with self.store.write() as tx:
                job.clear(tx, name)
                if not job.in_work(tx, name):
                    self._unsure.discard(name)
                    return
            self._team.bell.wait(rung, 1.0)
