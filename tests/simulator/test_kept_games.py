"""Games that once broke a promise, shortened to what it took: each is played again as it was."""

from __future__ import annotations

import pytest

from trueup.testing.simulator import Move, draw_moves, play_game

SHORT: dict[str, tuple[int, list[Move]]] = {
    "a stranger under the key of a row that was taken out, in a system that is only written to": (
        16,
        [("add", 69302159), ("sync", 1013325055), ("undo", 962593239), ("configure", 267182817), ("add", 613869126), ("settle", 435334905)],
    ),
    "a field that tells nothing of a write of which others tell that it was made, and that it was not": (
        203,
        [("add", 252119134), ("add", 535074144), ("fault", 51150370), ("edit twice", 331681919), ("settle", 527172288)],
    ),
    "an edit in a column that was not mapped any more when its state was restored": (
        203,
        [
            *(("fault", 993923939), ("add", 856844176), ("edit", 604739121), ("backup", 685529322), ("configure", 880817056)),
            *(("sync", 723920461), ("configure", 424605597), ("restore", 754645403), ("settle", 0)),
        ],
    ),
    "a row that shows a value of a new field, which nobody had compared, and is written to": (
        60,
        [
            *(("add", 493617851), ("add", 842507913), ("add", 793551267), ("edit", 461274437), ("edit", 396051616)),
            *(("edit twice", 672693352), ("edit", 65513054), ("kill", 35414245), ("add", 787290667), ("edit", 424277442)),
            *(("edit twice", 774945484), ("edit twice", 242012591), ("edit", 132056871), ("sync", 487725582)),
            *(("configure", 778317789), ("decide", 91527990), ("edit twice", 913555394), ("reread", 553383130)),
        ],
    ),
}


@pytest.mark.parametrize(("seed", "moves"), SHORT.values(), ids=SHORT.keys())
def test_a_game_that_was_lost_once(seed: int, moves: list[Move]) -> None:
    assert play_game(seed, moves) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [74, 97], ids=["left apart, and counted on", "left apart, and cleaned otherwise"])
def test_a_long_game_that_was_lost_once(seed: int) -> None:
    assert play_game(seed, draw_moves(seed)) is None
