"""The words that the text and the page of a profile share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.reports.table import counted, duration, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.reports.profile_facts import Clock, ColumnProfile, Doubled, Found, MatchDoubles, ObjectProfile, Orphans, Proposal, Spread

TELLING = 2.0
"""A clock that is no further off, beyond what the measurement leaves open, is right."""


def clock_words(clock: Clock | None) -> str:
    """What is known of a system's clock."""
    if clock is None:
        return "it has no clock that could be asked"
    match clock.by:
        case "same":
            return "its clock is that of this machine"
        case "nothing":
            return "its clock cannot be asked, and no time of modification lies ahead of now"
        case "modified":
            return f"its clock is at least {duration(clock.seconds)} ahead of this machine's, or in another time zone: a row says so"
    seconds, within = clock.seconds or 0.0, clock.within_s or 0.0
    if abs(seconds) <= within + TELLING:
        return "its clock agrees with this machine's"
    return f"its clock is {duration(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} this machine's"


def clock_is_wrong(clock: Clock | None) -> bool:
    """Whether somebody should look at a clock."""
    return clock is not None and (
        clock.by == "modified" or (clock.by == "asked" and abs(clock.seconds or 0) > (clock.within_s or 0) + TELLING)
    )


def looks_like(column: ColumnProfile) -> str:
    """What the values of a column look like, in a few words."""
    kinds = [found for found in column.kinds if found.count]
    if not kinds:
        spread = column.spread
        return "" if spread is None else f"{show(spread.least)} to {show(spread.most)}"
    first = kinds[0]
    if len(kinds) == 1 or first.count >= 0.995 * column.filled:
        return first.words
    share = f"{100 * first.count / column.filled:.0f} % {first.words}"
    return f"{share}, {kinds[1].words}" + (", …" if len(kinds) > 2 else "")


def untidy(column: ColumnProfile) -> str:
    """What is untidy, in a few words."""
    said = [f"{found.count:,} {found.words}" for found in column.dirt]
    if column.placeholders:
        words = ", ".join(show(word) for word, _count in column.placeholders[:3])
        said.append(f"{sum(count for _word, count in column.placeholders):,} without meaning ({words})")
    if column.blank:
        said.append(f"{column.blank:,} of spaces alone")
    return "; ".join(said)


def object_line(item: ObjectProfile) -> str:
    """How much of an object was looked at."""
    rows = counted(item.rows, "row") if item.whole else f"the first {counted(item.rows, 'row')}"
    said = [rows, f"{counted(len(item.columns), 'column')}", f"key {', '.join(item.key)}" if item.key else "no key"]
    if item.outside:
        said.append(f"{item.outside:,} more outside of the filter")
    if item.refused:
        said.append(f"{item.refused:,} cannot be read")
    return ", ".join(said)


def doubled_words(doubled: Doubled) -> str:
    """Values that several rows share."""
    said = []
    if doubled.values:
        examples = ", ".join(f"“{show(value)}” ({count}×)" for value, count in doubled.samples[:3])
        said.append(f"{counted(doubled.values, 'value')} in {counted(doubled.rows, 'row')}: {examples}")
    if doubled.in_form:
        examples = "; ".join(", ".join(f"“{show(text)}”" for text in group) for group in doubled.in_form_samples[:3])
        said.append(f"{counted(doubled.in_form, 'value')} that differ in form alone: {examples}")
    return "; ".join(said)


def match_words(found: MatchDoubles) -> str:
    """Rows that a match rule takes for one record."""
    examples = "; ".join(", ".join(show(cell) for cell in sample) for sample in found.samples[:3])
    return f"{counted(found.rows, 'row')} for {counted(found.records, 'record')} by {', '.join(found.fields)}: {examples}"


def orphan_words(found: Orphans) -> str:
    """Rows that point to one that is not there."""
    said = "refers to" if found.configured else "looks like a reference to"
    examples = ", ".join(show(value) for value in found.samples[:3])
    rows, values = counted(found.rows, "row"), counted(found.values, "value")
    return f"{found.column} {said} {found.refers_to}: {rows} without a counterpart, of {values} ({examples})"


def far_out(spread: Spread) -> str:
    """Values far from the others."""
    examples = ", ".join(show(value) for value in spread.outlier_samples)
    bounds = f"beyond {show(spread.low)} to {show(spread.high)}"
    middle = f"half of all lie between {show(spread.quarter)} and {show(spread.three_quarters)}"
    return f"{counted(spread.outliers, 'value')} {bounds}, where {middle}: {examples}"


def proposal_line(proposal: Proposal) -> str:
    """What a proposal would do."""
    said = f"{proposal.changed:,} of {counted(proposal.tried, 'value')} would change"
    if proposal.unclear:
        unclear = ", ".join(f"“{show(text)}”" for text in proposal.unclear_samples[:3])
        said += f", and of {proposal.unclear:,} it could make no sense ({unclear})"
    return f"{said}: {proposal.why}"


def samples_of(proposal: Proposal) -> Iterator[tuple[str, str]]:
    """Values before and after, as they are shown."""
    for before, after in proposal.samples:
        yield f"“{show(before)}”", "nothing" if after is None else f"“{show(after)}”"


def kinds_line(found: Found) -> str:
    """One kind, how often, and examples."""
    return f"{found.count:,} {found.words}: {', '.join(f'“{show(text)}”' for text in found.samples[:3])}"
