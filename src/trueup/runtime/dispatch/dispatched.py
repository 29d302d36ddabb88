"""Passes of a server that leads, where others may help.

What is to cross at once is decided by the leader itself, whose lanes outlast their pass: so a slow system delays nobody, and a change
waits for no worker. Of large systems and large deliveries others read and write parts. A sweep of an entity that has nothing but a schedule
is run by a worker where one is free for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trueup.runtime.dispatch import words
from trueup.runtime.dispatch.agreement import bound_to_one_machine
from trueup.runtime.dispatch.anew import anew
from trueup.runtime.dispatch.team import TeamHands
from trueup.runtime.schedule import is_realtime
from trueup.runtime.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from trueup.model import Config, EntitySummary
    from trueup.runtime.dispatch.counted import Counted
    from trueup.runtime.dispatch.team import Team
    from trueup.runtime.pass_options import PassOptions
    from trueup.runtime.workspace import Passed

BUSY_S = 5.0
"""A pass that no worker has begun by then is run here: they are busy, perhaps with systems that this one has nothing to do with."""


class Dispatched(Workspace):
    """A workspace whose passes are run by whoever is there for it; each of them ends in `Workspace.pass_in_parts`, here or elsewhere."""

    def __init__(self, team: Team, config: Config, **options: Any) -> None:
        """`options` are those of a workspace."""
        super().__init__(config, **options)
        self._team = team

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
        if run is not None and self._is_for_others(name, options):
            self._team.may_be_at(name)
            number = self._team.ask("pass", name, words.pass_wanted(options, None if callable(run) else run))
            answer = self._team.answer_to(number, busy_s=BUSY_S)
            if answer is not None:
                return words.pass_summary(answer, lambda counted: self._hear(counted, options))
            begun = True  # perhaps, by a worker that is gone

        def here(wanted: PassOptions) -> tuple[EntitySummary, str | None]:
            return super(Dispatched, self).one_pass(name, wanted, run=run, tick=tick)

        return anew(here, options) if begun else here(options)

    def _hear(self, counted: Counted, options: PassOptions) -> None:
        """What a worker counted is counted here."""
        if self.systems.calls is not None:
            counted.add_calls(self.systems.calls)
        options.elsewhere(counted.tally)

    def may_read_apart(self, name: str) -> bool:
        """See Workspace.may_read_apart."""
        self._team.nobody_is_at(name)
        return super().may_read_apart(name)

    def pass_in_parts(
        self,
        name: str,
        options: PassOptions,
        *,
        run: int | Callable[[], int] | None,
        tick: Callable[[str, str, int], None] | None = None,
    ) -> Generator[None, Mapping[str, frozenset[str] | None], Passed]:
        """See Workspace.pass_in_parts: others read and write parts for it."""
        if not options.apart:
            self._team.nobody_is_at(name, options.away)
        hands = None if bound_to_one_machine(self.config, name) else TeamHands(self._team, name, self.systems.calls)
        return (yield from super().pass_in_parts(name, replace(options, hands=hands), run=run, tick=tick))

    def _is_for_others(self, name: str, options: PassOptions) -> bool:
        """Whether a worker is to run a pass: one that looks at everything, and for which nobody waits."""
        if options.keys is not None or options.only is not None or is_realtime(self.config.entities[name]):
            return False
        return not bound_to_one_machine(self.config, name) and bool(self._team.workers())
