"""Which fields hold untidy texts after their cleaning: what a sync would copy to the other systems as it is."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import NULL
from trueup.core.clean import WORDS
from trueup.core.forms import COUNT, DIRT, TEXT, UNSURE_PLACEHOLDERS, blank, counted, is_placeholder, untidy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORDS_SHOWN = 5
_PLAIN = re.compile(r"[a-z][a-z0-9./]*")


@dataclass
class UntidyField:
    """One field in one system: in how many of the rows looked at it is untidy, and how."""

    rows: int = 0
    dirt: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    blank: int = 0

    @property
    def said(self) -> str:
        """What is untidy, in words."""
        return ", ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield from (f"{DIRT[name].words} ({count:,})" for name, count in self.dirt.most_common())
        if self.words:
            shown = ", ".join(word for word, _count in self.words.most_common(WORDS_SHOWN))
            yield f"{shown}, which mean nothing ({self.words.total():,})"
        if self.blank:
            yield f"spaces alone ({self.blank:,})"

    @property
    def steps(self) -> str:
        """The steps that mend it, as the configuration has them; empty where none does."""
        steps = [step for name in DIRT if name in self.dirt and (step := DIRT[name].step) is not None]
        steps += ["trim", "empty_to_null"] if self.blank else []
        if self.words:
            words = ", ".join(word if _PLAIN.fullmatch(word) else f'"{word}"' for word in self.words if WORDS not in word)
            steps.append(f"{{null_if: [{words}]}}")
        return ", ".join(dict.fromkeys(steps))


@dataclass
class UntidyFields:
    """What was found in the rows of one mapping, field by field."""

    found: dict[str, UntidyField] = field(default_factory=dict)

    def look(self, cells: pl.DataFrame, names: Sequence[str]) -> None:
        """Take note of one page of cells; `names` are its fields of type text."""
        for name in names:
            texts = counted(cells[name].filter(cells[name] != NULL))
            if texts.is_empty():
                continue
            marks = untidy(texts[TEXT]).drop("decomposed")  # a run always mends that
            word = pl.col(TEXT).str.strip_chars().str.to_lowercase()
            kinds = texts.select(
                blank(pl.col(TEXT)).alias("blank"),
                (is_placeholder(pl.col(TEXT)) & ~word.is_in(list(UNSURE_PLACEHOLDERS))).alias("nothing"),
                word.alias("word"),
            )
            dirty = marks.select(pl.any_horizontal(pl.all())).to_series() | kinds["blank"] | kinds["nothing"]
            if dirty.any():
                self._note(name, texts, marks, kinds, dirty)

    def _note(self, name: str, texts: pl.DataFrame, marks: pl.DataFrame, kinds: pl.DataFrame, dirty: pl.Series) -> None:
        found = self.found.setdefault(name, UntidyField())
        found.rows += int(texts.filter(dirty)[COUNT].sum())
        found.blank += int(texts.filter(kinds["blank"])[COUNT].sum())
        for mark in marks.columns:
            count = int(texts.filter(marks[mark] & ~kinds["blank"])[COUNT].sum())
            if count:
                found.dirt[mark] += count
        for word, count in zip(kinds["word"].filter(kinds["nothing"]), texts[COUNT].filter(kinds["nothing"]), strict=True):
            found.words[word] += count
