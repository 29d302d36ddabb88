"""Games that once broke a promise, shortened to what it took: each is played again as it was."""

from __future__ import annotations

import pytest

from trueup.testing.simulator import Move, draw_moves, play_game

SHORT: dict[str, tuple[int, list[Move]]] = {
    "a stranger under the key of a row that was taken out, in a system that is only written to": (
        16,
        [("add", 69302159), ("sync", 1013325055), ("undo", 962593239), ("configure", 267182817), ("add", 613869126), ("settle", 435334905)],
    ),
    "a reference to a row that is gone, and whose key another record has now": (
        2355,
        [
            *(("add", 91405302), ("order", 878093139), ("order", 7659040), ("listing", 516986106)),
            *(("remove", 619348101), ("add", 301581770), ("reread", 215911642)),
        ],
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
    "rows that several systems made again under other keys since the backup, while others are away": (
        9,
        [
            *(("add", 432075065), ("settle", 235181748), ("remove", 664477784), ("rename", 666605273), ("configure", 101572407)),
            *(("backup", 734248005), ("edit", 531464210), ("sync", 888996748), ("restore", 196493633), ("reread", 535876050)),
        ],
    ),
    "a renamed row, and a second row that took the place of the first": (
        201,
        [
            *(("sync", 232208525), ("configure", 633149917), ("add", 216386830), ("fault", 853501254), ("double", 282698500)),
            *(("add", 87434260), ("backup", 381541217), ("rename", 750711141), ("remove", 1063446862), ("sync", 71228361)),
            *(("restore", 836757052), ("configure", 923766533), ("sync", 387533451)),
        ],
    ),
    "a counter in a row that was made again under another key, beside one that changed in its place": (
        1197,
        [
            *(("add", 423712101), ("kill", 203795594), ("configure", 709685295), ("edit twice", 5600937), ("backup", 510568028)),
            *(("remove", 947343446), ("add", 622750848), ("sync", 64193835), ("sync", 292184462), ("restore", 864854334)),
        ],
    ),
    "a field that is newly mapped while its state is met, and a value that is agreed with a system that is away": (
        172,
        [
            *(("add", 761970281), ("add", 522637300), ("configure", 928532200), ("add", 439680875), ("sync", 141806992)),
            *(("edit", 59862134), ("undo", 658346837), ("configure", 833106707), ("down", 172964118), ("backup", 622514004)),
            *(("restore", 99896081), ("down", 786090036), ("configure", 914904550), ("add", 16818926), ("sync", 153906853)),
        ],
    ),
    "a row that was left behind when its system moved, and whose key is given to another customer there": (
        2040,
        [
            *(("add", 952000614), ("add", 134716164), ("edit twice", 266186233), ("sync", 51730315), ("add", 390589689)),
            *(("order", 820360790), ("listing", 497804898), ("edit", 99740494), ("wait", 222083334), ("configure", 848128843)),
            *(("order", 441726145), ("edit", 594416265), ("listing", 365473437), ("reread", 451712271)),
        ],
    ),
    "a row that has another key, and is outside of the filter": (
        3099,
        [
            *(("add", 651947470), ("add", 768059175), ("listing", 618775668), ("rename", 1013864010), ("move", 971420996)),
            ("settle", 987124743),
        ],
    ),
}


@pytest.mark.parametrize(("seed", "moves"), SHORT.values(), ids=SHORT.keys())
def test_a_game_that_was_lost_once(seed: int, moves: list[Move]) -> None:
    assert play_game(seed, moves) is None


LONG = {
    74: "left apart, and counted on",
    97: "left apart, and cleaned otherwise",
    173: "words that changed their meaning, and rows that were made again",
    1159: "rows that are all made again under other keys",
    2206: "questions about orders that only one system has by now",
    3017: "orders that an undo takes out of systems which meet a restored state",
    2375: "a value that a restored state knows otherwise, in a row that was made again under another key",
    3071: "a counter that a restored state knows otherwise, in a row that was made again under another key",
    2296: "rows that were left behind when their system moved, and whose disappearance was held for a while",
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", LONG, ids=LONG.values())
def test_a_long_game_that_was_lost_once(seed: int) -> None:
    assert play_game(seed, draw_moves(seed)) is None
