"""Random games against the real engine: people, faults and kills, and the promises of docs/architecture.md at the end of each."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.sparing import every_third
from trueup.store import golden
from trueup.testing.simulator import Simulation, draw_moves, play_game, soak, story
from trueup.testing.simulator_changes import CHANGES, configure
from trueup.testing.simulator_moves import MOVES, WEIGHTS
from trueup.testing.simulator_scenario import ENTITY

SEEDS = range(1, 9)
STORIES = (2, 3, 5)
KINDS = {
    "configuration": {"configure": 12, "add": 14, "edit": 20, "edit twice": 8, "sync": 10, "settle": 2, "remove": 2, "kill": 2, "plan": 1},
    "rereading": {
        "reread": 8,
        "configure": 4,
        "add": 12,
        "edit": 16,
        "edit twice": 6,
        "sync": 8,
        "kill": 8,
        "fault": 3,
        "move": 2,
        "spoil": 2,
    },
    "references": {"order": 30, "add": 12, "edit": 8, "sync": 14, "settle": 2, "remove": 1, "rename": 3, "kill": 3, "fault": 3},
    "undoing": {"undo": 10, "add": 12, "edit": 18, "edit twice": 6, "sync": 14, "remove": 3, "kill": 3, "settle": 1},
    "states that come and go": {
        "backup": 6,
        "restore": 5,
        "rebuild": 2,
        "add": 10,
        "edit": 20,
        "edit twice": 6,
        "sync": 12,
        "remove": 3,
        "kill": 4,
        "fault": 3,
        "configure": 4,
        "undo": 2,
        "order": 6,
    },
    "people who decide": {"decide": 10, "add": 10, "edit": 20, "edit twice": 14, "sync": 12, "remove": 6, "burst": 2, "kill": 2},
}
"""Games of little else than one kind of trouble."""


class Game(RuleBasedStateMachine):
    """One game, move by move, so that a broken promise is told with the fewest moves."""

    sim: Simulation

    @initialize(seed=st.integers(0, 10_000))
    def begin(self, seed: int) -> None:
        self.sim = Simulation(seed)

    @rule(name=st.sampled_from([name for name in WEIGHTS for _ in range(WEIGHTS[name])]), number=st.integers(0, 1 << 20))
    def move(self, name: str, number: int) -> None:
        assert name in MOVES
        self.sim.play((name, number))

    def teardown(self) -> None:
        if hasattr(self, "sim"):
            try:
                self.sim.settle()
            finally:
                self.sim.__exit__(None, None, None)


def test_games_of_a_state_machine() -> None:
    run_state_machine_as_test(
        Game,
        settings=settings(
            max_examples=6,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # `python -m trueup.testing.simulator` finds the short history of a failure, and faster
        ),
    )


@pytest.mark.parametrize("seed", every_third(SEEDS))
def test_game(seed: int) -> None:
    assert play_game(seed, draw_moves(seed, 30)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_game_of_a_kind(kind: str, seed: int) -> None:
    assert play_game(seed, draw_moves(seed, 20, KINDS[kind])) is None


def test_unlinked_new_rows_beside_changed_ones_in_pages_of_their_own() -> None:
    """A page of new rows that nobody may link yet, and one of known rows, are of one chunk."""
    moves = [("configure", 337629376), ("add", 311061681), ("reread", 1018516809), ("double", 92373084), ("burst", 198625994)]
    assert play_game(1000, [*moves, ("sync", 1036060742)]) is None


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_of_the_configuration(change: str) -> None:
    """Rows that agree, one change, edits, and the agreement under the new configuration."""
    with Simulation(11) as sim:
        for name in ("add", "add", "add", "settle", "edit", "edit twice"):
            sim.play((name, 5))
        if change == "add a system":
            configure(sim, Random(3), "remove a system")
            sim.play(("edit", 4))
            sim.play(("sync", 4))
        configure(sim, Random(3), change)
        sim.plan_and_sync()
        for name in ("edit", "add", "sync", "settle"):
            sim.play((name, 7))


@pytest.mark.parametrize("seed", [13, 48, 82])
def test_what_nobody_had_read_in_a_removed_system_counts_for_nothing(seed: int) -> None:
    """A counter is changed in several systems, and one of them is not connected any more before anybody looks: the rest still counts."""
    with Simulation(seed) as sim:
        for name in ("add", "add", "add", "settle", "edit", "edit twice"):
            sim.play((name, seed))
        typed = dict(sim.people.sums)
        configure(sim, Random(seed), "remove a system")
        assert sim.people.sums != typed
        assert not sim.people.unsure & typed.keys(), "what everybody else typed is still counted"
        sim.plan_and_sync()
        for name in ("edit", "add", "sync", "settle"):
            sim.play((name, seed + 2))


SILENT = ("settle", "address", "object", "key", "values", "was of a field", "was of a system", "modified", "guard")
"""Changes of the configuration that say nothing about any value."""


@pytest.mark.parametrize("change", SILENT)
@pytest.mark.parametrize("seed", [3, 11, 29])
def test_a_change_that_is_no_edit_moves_nothing(change: str, seed: int) -> None:
    """Rows that agree, and then are elsewhere, under other keys, in other words or under other names: no value moves, no row is written."""
    with Simulation(seed) as sim:
        for name in ("add", "add", "add", "settle"):
            sim.play((name, seed))
        before = values_of(sim)
        for number in range(3):
            configure(sim, Random(seed + number), change)
            sim.sync()
            assert not any(system.calls.writes for system in sim.systems.values())
            assert values_of(sim) == before


def values_of(sim: Simulation) -> list[dict[str, Any]]:
    """The golden records, by the simulator's own names of their fields."""
    items = {called: name for name, called in sim.scenario.called.items()}
    with sim.workspace.store.read() as db:
        texts = [row["data"] for frame in golden.stream(db, ENTITY) for row in frame.iter_rows(named=True)]
    return [{items[name]: value for name, value in orjson.loads(text).items()} for text in texts]


@pytest.mark.parametrize("seed", STORIES)
def test_the_order_of_rows_and_pages_does_not_matter(seed: int) -> None:
    assert story(seed)[0] == story(seed, backwards=True)[0]


@pytest.mark.parametrize("seed", STORIES)
def test_killed_at_some_points_it_ends_the_same(seed: int) -> None:
    end, _ = story(seed)
    for point in range(seed, 60, 19):
        assert story(seed, kill_at=point)[0] == end, f"killed at point {point}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", STORIES)
def test_killed_anywhere_it_ends_the_same(seed: int) -> None:
    """At every point: before and after each commit, before and after each write."""
    end, _ = story(seed)
    point, reached = 1, True
    while reached:
        killed, reached = story(seed, kill_at=point)
        assert killed == end, f"killed at point {point}"
        point += 1
    assert point > 10


@pytest.mark.slow
def test_a_short_soak() -> None:
    failure = soak(2_500, seed=1_000)
    assert failure is None, str(failure)
