"""Precision and recall of `trueup dedupe` on the FEBRL data sets, as a table and as docs/matching.svg: `make matching`.

Without arguments the picture is drawn and the table printed; `--check` only says whether the measures hold.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.febrl import SETS, WANTED_F1, WANTED_PRECISION, people  # noqa: E402 - found through the line above when run as a program
from trueup.setup.linkage.judge import THRESHOLD, judge  # noqa: E402

PICTURE = ROOT / "docs" / "matching.svg"
STEPS = [0.01, 0.05, *(number / 10 for number in range(1, 10)), 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999]
WIDTH, HEIGHT, LEFT, TOP = 260, 200, 48, 36
LOWEST = 0.95
COLOURS = ("#22684a", "#9a3b1f")


@dataclass(frozen=True)
class Measured:
    """One data set: what was made one without asking, and precision and recall of all pairs by threshold."""

    number: int
    records: int
    pairs: int
    made_one: int
    precision: float
    recall: float
    asked: int
    curve: list[tuple[float, float, float]]

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / (self.precision + self.recall)

    @property
    def holds(self) -> bool:
        """Whether it is as good as is wanted."""
        return self.f1 >= WANTED_F1[self.number] and self.precision >= WANTED_PRECISION


def measure(number: int) -> Measured:
    """Judge one data set as a user's records are judged, and compare with what is known."""
    entity, cells, true = people(number)
    judged = judge(entity, cells)
    made_one = {pair for rows, _pairs in judged.verdicts.groups for pair in combinations(rows, 2)}
    right = len(made_one & true)
    curve = []
    for step in STEPS:
        found = set(judged.scored.pairs.filter(pl.col("probability") >= step).select("left", "right").rows())
        curve.append((step, len(found & true) / max(1, len(found)), len(found & true) / len(true)))
    return Measured(
        number,
        cells.height,
        len(true),
        len(made_one),
        right / max(1, len(made_one)),
        right / len(true),
        len(judged.verdicts.asked),
        curve,
    )


def table(found: list[Measured]) -> str:
    """The rows of the table in docs/matching.md."""
    return "\n".join(
        f"| FEBRL {one.number} | {one.records:,} | {one.pairs:,} | {one.made_one:,} |"
        f" {one.precision:.4f} | {one.recall:.4f} | {one.f1:.4f} |"
        for one in found
    )


def picture(found: list[Measured]) -> str:
    """The curves: over the threshold, precision and recall, a panel per data set."""
    wide, high, low = LEFT + len(found) * (WIDTH + LEFT), TOP + HEIGHT + 64, TOP + HEIGHT + 52
    size = f'viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12"'
    label = f"by threshold; the dotted line is the default, {THRESHOLD:g}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Precision and recall by threshold">',
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
        *(part for place, one in enumerate(found) for part in _panel(one, LEFT + place * (WIDTH + LEFT))),
        _text(LEFT, low, "— precision", fill=COLOURS[0]),
        _text(LEFT + 90, low, "— recall", fill=COLOURS[1]),
        _text(LEFT + 170, low, label),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, *, fill: str = "#5b6675", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{text}</text>'


def _panel(one: Measured, left: int) -> list[str]:
    def x(step: int) -> float:
        return left + WIDTH * step / (len(STEPS) - 1)

    def y(share: float) -> float:
        return TOP + HEIGHT * (1 - (max(share, LOWEST) - LOWEST) / (1 - LOWEST))

    shares = [LOWEST + number * (1 - LOWEST) / 5 for number in range(6)]
    parts = [_text(left, TOP - 14, f"FEBRL {one.number}: {one.records:,} records", fill="#1c2430")]
    parts += [f'<path d="M{left} {y(share):.1f}h{WIDTH}" stroke="#e8ecf2"/>' for share in shares]
    parts += [_text(left - 6, y(share) + 4, f"{share:.2f}", anchor="end") for share in shares]
    parts += [_text(x(step), TOP + HEIGHT + 18, f"{STEPS[step]:g}", anchor="middle") for step in range(0, len(STEPS), 3)]
    parts.append(f'<path d="M{x(STEPS.index(THRESHOLD)):.1f} {TOP}v{HEIGHT}" stroke="#5b6675" stroke-dasharray="2 3"/>')
    for column, colour in enumerate(COLOURS, start=1):
        points = " ".join(f"{x(step):.1f},{y(point[column]):.1f}" for step, point in enumerate(one.curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts


def main() -> int:
    """Measure, print, draw; 1 where a measure does not hold."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--check", action="store_true", help="draw nothing")
    asked = words.parse_args()
    found = [measure(number) for number in SETS]
    print(table(found))
    for one in found:
        print(f"FEBRL {one.number}: {one.asked} pairs for a person; {'holds' if one.holds else 'DOES NOT HOLD'}")
    if not asked.check:
        PICTURE.write_text(picture(found), encoding="utf-8")
        print(f"drawn: {PICTURE.relative_to(ROOT)}")
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
