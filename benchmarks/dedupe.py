"""How long `trueup dedupe` takes to find duplicates, beside splink alone: `python benchmarks/dedupe.py [--rows 1000000]`.

The same pairs are compared with the same model twice: once as trueup does (fields told by their values, keys chosen, model trained, pairs
judged, groups made), once as plain splink with fields and keys given: its training and its prediction. The ratio is what trueup adds.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from trueup.model import Entity, Field  # noqa: E402 - found through the line above when run as a program
from trueup.setup.linkage import model  # noqa: E402
from trueup.setup.linkage.judge import judge  # noqa: E402
from trueup.setup.linkage.keys import chosen_keys  # noqa: E402
from trueup.setup.linkage.kinds import comparable, compared_fields  # noqa: E402

FIELDS = ("first_name", "surname", "street", "postcode", "city", "phone", "email", "birthday")
TWICE = 0.1
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _word(chance: random.Random, letters: int) -> str:
    return "".join(chance.choices(LETTERS, k=letters))


def _typed(chance: random.Random, text: str) -> str:
    """The text with one letter typed wrong."""
    place = chance.randrange(len(text))
    return text[:place] + chance.choice(LETTERS) + text[place + 1 :]


def people(rows: int, seed: int = 1) -> Iterator[tuple[str | None, ...]]:
    """Persons, a tenth of them twice with errors; a few names, cities and streets are shared by very many."""
    chance = random.Random(seed)
    first, last = [_word(chance, 6) for _ in range(1_500)], [_word(chance, 8) for _ in range(20_000)]
    streets, cities = [_word(chance, 9) for _ in range(5_000)], [_word(chance, 7) for _ in range(300)]
    made = 0
    while made < rows:
        one: list[str | None] = [
            first[int(len(first) * chance.random() ** 3)],
            last[int(len(last) * chance.random() ** 2)],
            f"{chance.randrange(1, 200)} {chance.choice(streets)} st",
            f"{chance.randrange(10_000, 99_999)}",
            cities[int(len(cities) * chance.random() ** 4)],
            f"07{chance.randrange(10**8, 10**9)}",
            f"{_word(chance, 9)}@{_word(chance, 5)}.example",
            f"{chance.randrange(1940, 2010)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}",
        ]
        yield tuple(one)
        made += 1
        if made < rows and chance.random() < TWICE / (1 - TWICE):
            for place in chance.sample(range(len(one)), 3):
                value = one[place]
                one[place] = None if chance.random() < 0.3 or value is None else _typed(chance, value)
            yield tuple(one)
            made += 1


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=100_000)
    rows = words.parse_args().rows
    cells = pl.DataFrame(list(people(rows)), schema=dict.fromkeys(FIELDS, pl.String()), orient="row")
    entity = Entity(name="person", fields={name: Field(name=name) for name in FIELDS}, mappings={})
    begun = time.perf_counter()
    judged = judge(entity, cells)
    ours = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    fields, _left_out = compared_fields(entity, cells)
    numbered = comparable(cells, fields).with_row_index("id").with_columns(pl.col("id").cast(pl.Int64))
    keyed, keys = chosen_keys(numbered, fields)
    begun = time.perf_counter()
    alone = model.score(keyed, fields, keys)
    theirs = time.perf_counter() - begun
    found = judged.verdicts
    print(f"{rows:,} records, {alone.looked_at:,} pairs compared, {len(found.groups):,} groups, {len(found.asked):,} asked")
    print(f"trueup {ours:.1f} s, {memory:,.0f} MB at most; splink alone {theirs:.1f} s; trueup / splink {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
