"""Quality of one page of rows: what cannot be read, what breaks a check, what cleaning would change, what is untidy without a rule.

Unlike the mapping of a run, a row with a broken check keeps its place here, so that it can still be compared with other systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from trueup.core.cells import KEY, NULL
from trueup.core.checks import check_cells
from trueup.core.clean import STEPS, uncleaned
from trueup.core.mapping_in import blank_to_null, read_fields

if TYPE_CHECKING:
    from trueup.core.mapping import CompiledMapping
    from trueup.core.mapping_in import Read

FindingKind = Literal["unreadable", "invalid", "clean", "unclear", "untidy"]
"""unreadable: not of the field's type, or an expression fails on it. invalid: breaks a check. clean: cleaning changes it (`becomes`).
unclear: a cleaning step cannot make sense of it. untidy: a text without cleaning that has needless spaces (`becomes`)."""

FINDING_SCHEMA = pl.Schema(dict.fromkeys((KEY, "field", "kind", "value", "becomes", "reason"), pl.String()))


@dataclass(frozen=True, slots=True)
class Inspected:
    """`rows`: __key and a cell column per readable field, without the rows of which a value could not be read at all.

    `findings` (FINDING_SCHEMA): one line per value that is not as it should be; field "" means the row as a whole. `value` and
    `becomes` are cells, null where there is nothing to show.
    `refused`: keys of rows that a run would set aside (unreadable or invalid), each once.
    """

    rows: pl.DataFrame
    findings: pl.DataFrame
    refused: pl.Series


def inspect_rows(compiled: CompiledMapping, native: pl.DataFrame) -> Inspected:
    """Map native rows and note what is wrong with them."""
    rows = blank_to_null(native) if compiled.empty_is_null else native
    read = read_fields(rows, compiled.readers, compiled.decimals, compiled.column_types)
    keys = native[KEY]
    cells = read.cells
    broken = check_cells(cells, compiled.checks)
    bad_rows = read.issues["row"].unique() if read.issues.height else pl.Series("row", [], dtype=pl.UInt32)
    broken = broken.filter(~pl.col("row").is_in(bad_rows.implode()))
    whole = pl.DataFrame([keys, *cells.get_columns()])
    good = ~pl.int_range(whole.height, dtype=pl.UInt32, eager=True).is_in(bad_rows.implode())
    findings = [
        _issues(keys, read.issues, "unreadable"),
        _issues(keys, broken, "invalid"),
        *_cleaned(compiled, keys, read),
        *_untidy(compiled, keys, cells),
    ]
    refused = pl.concat([bad_rows, broken["row"].cast(pl.UInt32)]).unique().sort()
    return Inspected(
        whole.filter(good) if bad_rows.len() else whole,
        pl.concat([frame.cast(FINDING_SCHEMA) for frame in findings if frame.height] or [pl.DataFrame(schema=FINDING_SCHEMA)]),
        keys.gather(refused),
    )


def _issues(keys: pl.Series, issues: pl.DataFrame, kind: FindingKind) -> pl.DataFrame:
    return issues.select(
        keys.gather(issues["row"]).alias(KEY),
        "field",
        pl.lit(kind).alias("kind"),
        pl.lit(None, dtype=pl.String).alias("value"),
        pl.lit(None, dtype=pl.String).alias("becomes"),
        "reason",
    )


def _changed(keys: pl.Series, name: str, before: pl.Series, after: pl.Series, kind: FindingKind, mask: pl.Series) -> pl.DataFrame:
    frame = pl.DataFrame({KEY: keys, "value": before, "becomes": after}).filter(mask)
    return frame.select(
        KEY, pl.lit(name).alias("field"), pl.lit(kind).alias("kind"), "value", "becomes", pl.lit(None, dtype=pl.String).alias("reason")
    )


def _cleaned(compiled: CompiledMapping, keys: pl.Series, read: Read) -> list[pl.DataFrame]:
    """Values that cleaning changes, and those of which its steps could make no sense."""
    parts = []
    for reader in compiled.readers:
        name, steps = reader.field.name, reader.field.clean
        if name not in read.uncleaned:
            continue
        before, after = read.uncleaned[name], read.cells[name]
        parts.append(_changed(keys, name, before, after, "clean", before.ne_missing(after)))
        if reader.field.type == "text" and any(STEPS[step.name].judges for step in steps):
            unclear = uncleaned(after, steps)
            parts.append(_changed(keys, name, after, pl.repeat(None, len(after), dtype=pl.String, eager=True), "unclear", unclear))
    return parts


def _untidy(compiled: CompiledMapping, keys: pl.Series, cells: pl.DataFrame) -> list[pl.DataFrame]:
    """Texts without cleaning steps that have spaces at an end, or several in a row."""
    parts = []
    for reader in compiled.readers:
        name = reader.field.name
        if reader.field.type != "text" or reader.field.clean:
            continue
        tidy = pl.when(pl.col(name) != NULL).then(pl.col(name).str.strip_chars().str.replace_all(r"[ \t\u00a0]{2,}|[\t\u00a0]", " "))
        after = cells.select(tidy.fill_null(pl.col(name)).alias(name)).to_series()
        differs = after.ne_missing(cells[name])
        if differs.any():
            parts.append(_changed(keys, name, cells[name], after, "untidy", differs))
    return parts


def same_but_for_form(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Whether two texts say the same but for capitals, spaces, punctuation and ways of encoding a letter."""
    return _plain(left) == _plain(right)


def _plain(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "")


__all__ = ["FINDING_SCHEMA", "FindingKind", "Inspected", "inspect_rows", "same_but_for_form"]
