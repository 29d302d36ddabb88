"""What a receiver counts: answers by system and status, repeats, and how long they took. It holds no content of any message."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(slots=True)
class Tally:
    """Counts since the receiver began. An unknown system is counted under the empty name: anybody can make up names."""

    answers: dict[str, dict[int, int]] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    stored_s: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, system: str, status: int, seconds: float, *, repeats: int = 0) -> None:
        """Count one answer; only of messages that were stored the time counts."""
        by_status = self.answers.setdefault(system, {})
        by_status[status] = by_status.get(status, 0) + 1
        if repeats:
            self.repeats[system] = self.repeats.get(system, 0) + repeats
        if status == 202:
            self.stored_s[bisect_left(BUCKETS_S, seconds)] += 1
            self.sum_s += seconds

    def plain(self) -> dict[str, Any]:
        """As plain values: `stored_s` per bucket of `bounds_s`, the last one beyond all."""
        answers = {system: {str(status): count for status, count in found.items()} for system, found in self.answers.items()}
        times = {"bounds_s": list(BUCKETS_S), "stored_s": list(self.stored_s), "sum_s": self.sum_s}
        return {"answers": answers, "repeats": dict(self.repeats), **times}


def added(known: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Two of these together, as plain values; an empty one counts nothing."""
    if not known or not more:
        return dict(more or known)
    answers = {system: dict(found) for system, found in known["answers"].items()}
    for system, found in more["answers"].items():
        mine = answers.setdefault(system, {})
        for status, count in found.items():
            mine[status] = mine.get(status, 0) + count
    repeats = dict(known["repeats"])
    for system, count in more["repeats"].items():
        repeats[system] = repeats.get(system, 0) + count
    stored = [one + other for one, other in zip(known["stored_s"], more["stored_s"], strict=True)]
    times = {"bounds_s": known["bounds_s"], "stored_s": stored, "sum_s": known["sum_s"] + more["sum_s"]}
    return {"answers": answers, "repeats": repeats, **times}
