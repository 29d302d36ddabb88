"""What a worker counted while it did a job, as it goes with the answer to whoever had asked, and from there on to the leader.

It is taken out of what the worker counts as it is told, and each answer is taken away once: so nothing is counted twice. What a worker had
counted when it was gone is not told any more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from trueup.reports.picture import Spread
from trueup.runtime.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.runtime.measured import Calls


@dataclass
class Counted:
    """What a pass decided, and what systems were asked: how often by call and outcome, and how long it took by call."""

    tally: Tally = field(default_factory=Tally)
    calls: dict[str, tuple[Counter[tuple[str, str]], dict[str, Spread]]] = field(default_factory=dict)

    @classmethod
    def taken(cls, calls: Mapping[str, Calls], tally: Tally | None = None) -> Self:
        """What was counted since the last answer of this process."""
        return cls(tally or Tally(), {system: counted for system, one in calls.items() if (counted := one.take_away())[0]})

    def add_calls(self, calls: Mapping[str, Calls]) -> None:
        """Add what systems were asked to what this process counts."""
        for system, (outcomes, seconds) in self.calls.items():
            calls[system].add(outcomes, seconds)

    def told(self) -> dict[str, Any]:
        """In the form that goes with an answer."""
        return {
            "decided": [[*about, count] for about, count in self.tally.decided.items()],
            "found": {system: None if keys is None else sorted(keys) for system, keys in self.tally.found.items()},
            "calls": {
                system: {
                    "outcomes": [[*about, count] for about, count in outcomes.items()],
                    "seconds": {call: [spread.total, *spread.counts] for call, spread in seconds.items()},
                }
                for system, (outcomes, seconds) in self.calls.items()
            },
        }

    @classmethod
    def heard(cls, told: Mapping[str, Any]) -> Self:
        """The same, as it was told."""
        tally = Tally()
        tally.decided.update({(rule, winner): count for rule, winner, count in told["decided"]})
        tally.found.update({system: None if keys is None else set(keys) for system, keys in told["found"].items()})
        calls = {
            system: (
                Counter({(call, outcome): count for call, outcome, count in part["outcomes"]}),
                {call: Spread(counts=counts, total=total) for call, (total, *counts) in part["seconds"].items()},
            )
            for system, part in told["calls"].items()
        }
        return cls(tally, calls)
