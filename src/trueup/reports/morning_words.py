"""The morning report in words: what a person has to do, one line where that is nothing, and the counts behind it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trueup.reports.by_hand_facts import worth_lines
from trueup.reports.morning_facts import SEEN, WRITTEN, SystemMoved, checksums
from trueup.reports.runs import WHICH_VANISHED
from trueup.reports.table import PLAIN, counted, duration, moment, second, table, visible
from trueup.reports.trail import with_head

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from trueup.reports.morning_facts import EntityMorning, Morning, Open
    from trueup.reports.table import Style

SHOWN = 20
QUEUES: dict[str, tuple[str, str, str, str]] = {
    "failure": ("record", "records", "could not be read or written", "`trueup failures`"),
    "conflict": ("conflict", "conflicts", "to settle", "`trueup conflicts`"),
    "parked": ("row", "rows", "might be one of several records", "`trueup matches`"),
    "hold": ("part", "parts", "held by a guard", "`trueup holds`"),
}
"""Of what waits: how it is counted, what is the matter, and the command that lists it."""
BAD = {"partial": "warn", "held": "warn", "failed": "bad"}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a person should do. `entity`, `system`, `owner`, `since`: None where there is none, or nobody knows."""

    what: str
    how: str
    entity: str | None = None
    system: str | None = None
    owner: str | None = None
    since: datetime | None = None


# ---------------------------------------------------------------- what is to be done


def needs(report: Morning) -> list[Need]:
    """What a person should do, the most urgent first; empty: nothing."""
    found = [need for name, entity in report.entities.items() for need in _of_entity(name, entity, report)]
    if not report.synced and report.entities:
        found.append(Need("nothing was synced yet", "`trueup check`, then `trueup plan`, then `trueup sync`"))
    if report.paused:
        found.append(Need(f"paused: {', '.join(report.paused)}", "`trueup resume` when it may go on"))
    found += [Need(one.what, "`trueup alerts`", owner=one.owner, since=one.since) for one in report.firing]
    last = report.runs[-1] if report.runs else None
    if last is not None and last.status == "failed":
        found.append(
            Need(f"run {last.run} failed: {last.error or 'it did not say why'}", f"`trueup run {last.run}`", since=last.started_at)
        )
    for due in report.due_by_hand:
        late = "never done yet" if due.last_at is None else f"due since {moment(due.due_at)}"
        who = due.owner or due.stand_in
        found.append(
            Need(
                f"by hand: {due.name}, {late}",
                "`trueup manual due` lists its steps",
                owner=who,
                since=None if due.last_at is None else due.due_at,
            )
        )
    return found


def _of_entity(name: str, entity: EntityMorning, report: Morning) -> Iterator[Need]:
    owner, standing = entity.owner, entity.standing
    yield from _of_comparison(name, entity)
    for kind in ("hold", "failure", "conflict", "parked"):
        listed = entity.of(kind)
        if listed:
            one, several, what, how = QUEUES[kind]
            yield Need(f"{name}: {counted(len(listed), one, several)} {what}", how, name, None, owner, listed[0].since)
    for system, side in standing.systems.items():
        if side.missing:
            gone = f"{counted(side.missing, 'row')} vanished while deletes are off"
            yield Need(f"{name} in {system}: {gone}", f"{WHICH_VANISHED} shows which", name, system, owner)
        if side.late and side.delay_s is not None:
            late = f"last complete pass {duration(side.delay_s)} ago, {duration(standing.max_delay_s)} are tolerated"
            yield Need(f"{name} in {system}: {late}", "`trueup sync`, or see why `trueup serve` does not", name, system, owner)
    if report.synced and entity.compared_at is None and standing.systems:
        yield Need(f"{name}: never compared", f"`trueup verify {name}`", name, None, owner)


def _of_comparison(name: str, entity: EntityMorning) -> Iterator[Need]:
    owner = entity.owner
    for system, why in entity.left_out.items():
        yield Need(f"{name} in {system}: could not be compared: {why}", "`trueup check`", name, system, owner)
    known = bool(entity.open) or any(side.missing for side in entity.standing.systems.values())
    for system, item in entity.compared.items():
        if not item.agrees:
            what = f"{name} in {system}: {_differ(item.differ, item.missing, item.extra)}"
            how = f"`trueup verify {name}` shows the values, `--repair` mends them"
            yield Need(what, how, name, system, owner, entity.differs_since.get(system))
        elif item.waiting and not known:
            waits = f"{counted(item.waiting, 'row')} cannot be understood, or wait for a decision"
            yield Need(f"{name} in {system}: {waits}", "`trueup sync` looks again and says why", name, system, owner)


def _differ(differ: int, missing: int, extra: int) -> str:
    parts = []
    if differ:
        parts.append(f"{counted(differ, 'record')} {'differs' if differ == 1 else 'differ'}")
    if missing:
        parts.append(f"{counted(missing, 'row')} {'is' if missing == 1 else 'are'} missing")
    if extra:
        parts.append(f"{counted(extra, 'orphan')} ({'a row' if extra == 1 else 'rows'} of no record)")
    return ", ".join(parts)


def need_text(need: Need) -> str:
    """One line for it."""
    since = f", since {moment(need.since)}" if need.since is not None and "due since" not in need.what else ""
    owner = f" ({need.owner})" if need.owner else ""
    return visible(f"{need.what}{since}{owner}: {need.how}")


def needs_list(report: Morning) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {
            "what": need.what,
            "how": need.how,
            "entity": need.entity,
            "system": need.system,
            "owner": need.owner,
            "since": second(need.since),
        }
        for need in needs(report)
    ]


# ---------------------------------------------------------------- headlines


def title(report: Morning) -> str:
    """One line, as the subject of a message."""
    count = len(needs(report))
    return f"trueup: {'nothing to do' if not count else counted(count, 'thing') + ' to do'}, {report.at:%Y-%m-%d}"


def headline(report: Morning) -> str:
    """One line: nothing to do, or how much; and what moved."""
    count = len(needs(report))
    if count:
        return f"{counted(count, 'thing')} to do. {moved_line(report)}"
    if not report.entities:
        return "Nothing to do."
    held = f"{counted(report.systems, 'system')} {'agrees' if report.systems == 1 else 'agree'} with {counted(report.records, 'record')}"
    return f"Nothing to do: {held}. {moved_line(report)}"


def moved_line(report: Morning) -> str:
    """What moved in the time, in one sentence."""
    moved = sum(entity.moved.records for entity in report.entities.values())
    sides = [side for entity in report.entities.values() for side in entity.moved.systems.values()]
    written = sum(side.written[kind] for side in sides for kind in ("created", "updated", "deleted"))
    runs = counted(len(report.runs), "run")
    if not report.runs:
        return f"No run since {moment(report.since)}."
    return f"Since {moment(report.since)}: {counted(moved, 'record')} moved, {counted(written, 'row')} written, in {runs}."


# ---------------------------------------------------------------- for a terminal


def morning_text(report: Morning, style: Style = PLAIN, *, everything: bool = False) -> str:
    """The report for people: one line where nothing is to be done, unless `everything` is asked for."""
    todo = needs(report)
    if not todo and not everything:
        return style.paint(headline(report), "good")
    lines = [style.paint(headline(report), "good" if not todo else "bold")]
    if todo:
        lines += ["", *(f"{style.paint('!', 'warn')} {need_text(need)}" for need in todo)]
    for name, entity in report.entities.items():
        lines += ["", *_entity(name, entity, report, style)]
    lines += _runs(report, style)
    if report.review is not None and report.review.processes:
        lines += ["", *worth_lines(report.review, style)]
    return with_head("\n".join(lines), report.trail)


def _entity(name: str, entity: EntityMorning, report: Morning, style: Style) -> Iterator[str]:
    counts = f"{counted(entity.standing.total, 'record')}{_moved(entity)}{compared_words(entity, report)}"
    yield f"{style.paint(visible(name), 'bold')}: {counts}"
    head = ["system", "rows", "checksum", "differ", "missing", "orphans", "waiting", "differs since", "pending", "last complete pass"]
    yield table(head, [_standing_row(system, entity) for system in entity.standing.systems], style, indent="  ")
    moved = [[system, *_moved_row(entity.moved.systems.get(system))] for system in entity.standing.systems]
    if any(any(row[1:]) for row in moved):
        yield f"  Moved since {moment(report.since)}:"
        yield table(["system", *moved_head()], moved, style, indent="  ")
    if entity.differing:
        rows = [
            [one.system, _record(one.record), one.key or "", differing_words(one), moment(one.since)] for one in entity.differing[:SHOWN]
        ]
        yield "  Differing:"
        yield table(["system", "record", "row", "what", "since"], rows, style, indent="  ") + _more(entity.differences, "  ")
    if entity.open:
        yield "  Waiting:"
        rows = [_open_row(one) for one in entity.open[:SHOWN]]
        text = table(["what", "id", "system", "row", "record", "field", "since", "why"], rows, style, indent="  ", open_end=True)
        yield text + _more(len(entity.open), "  ")


def compared_words(entity: EntityMorning, report: Morning) -> str:
    """When the systems were compared, where that was not just now."""
    if entity.compared_at == report.at or not entity.standing.systems:
        return ""
    return f"; compared at {moment(entity.compared_at)}" if entity.compared_at is not None else "; never compared"


def _moved(entity: EntityMorning) -> str:
    parts = (("created", "new"), ("updated", "changed"), ("deleted", "deleted"))
    said = [f"{getattr(entity.moved, part):,} {word}" for part, word in parts if getattr(entity.moved, part)]
    said += [f"{counted(entity.moved.overruled, 'edit')} overruled"] if entity.moved.overruled else []
    return f" ({', '.join(said)})" if said else ""


def _standing_row(system: str, entity: EntityMorning) -> list[Any]:
    side, compared = entity.standing.systems[system], entity.compared.get(system)
    if compared is None:
        cells: list[Any] = ["", "could not be read" if system in entity.left_out else "", "", "", "", ""]
    else:
        cells = [compared.rows, checksum_text(entity, system), compared.differ, compared.missing, compared.extra, compared.waiting]
    return [system, *cells, _since(entity, system), side.pending, moment(side.last_complete_pass) + (" (late)" if side.late else "")]


def _since(entity: EntityMorning, system: str) -> str:
    compared = entity.compared.get(system)
    differs = compared is not None and not compared.agrees
    return moment(entity.differs_since.get(system)) if differs else ""


def checksum_text(entity: EntityMorning, system: str) -> str:
    """The checksum of a system's rows: one where it is the agreed one, else both."""
    compared = entity.compared.get(system)
    found = None if compared is None else checksums(compared)
    if found is None:
        return ""
    return found["held"] if found["held"] == found["agreed"] else f"{found['held'][:8]}… ≠ {found['agreed'][:8]}…"


def moved_head() -> tuple[str, ...]:
    """What `_moved_row` counts."""
    return ("new", "changed", "gone", "rejected", "|", "created", "updated", "deleted", "failed")


def moved_counts(side: SystemMoved | None) -> list[int]:
    """What runs saw in a system, and what they wrote."""
    known = side or SystemMoved()
    return [*(known.seen[kind] for kind in SEEN), *(known.written[kind] for kind in WRITTEN)]


def _moved_row(side: SystemMoved | None) -> list[Any]:
    found = [count or "" for count in moved_counts(side)]
    return [*found[:4], "", *found[4:]]


def differing_words(one: Any) -> str:
    """What is the matter with a record that differs: the names of its fields, no values."""
    if one.kind == "differ":
        return ", ".join(one.fields)
    return {"missing": "the row is missing", "extra": "an orphan: the row is no record's"}[one.kind]


def _record(record: int | None) -> str:
    return "" if record is None else str(record)


def open_words(one: Open) -> str:
    """What kind of thing waits."""
    return {"failure": "failure", "conflict": "conflict", "parked": "parked row", "hold": "held"}[one.kind]


def _open_row(one: Open) -> list[Any]:
    return [open_words(one), one.id, one.system or "", one.key or "", _record(one.record), one.field or "", moment(one.since), one.why]


def _more(count: int, indent: str, shown: int = SHOWN) -> str:
    return f"\n{indent}… and {count - shown:,} more" if count > shown else ""


def runs_words(report: Morning) -> str:
    """How the runs ended."""
    ended = Counter(run.status for run in report.runs)
    return ", ".join(f"{number:,} {status}" for status, number in ended.items())


def _runs(report: Morning, style: Style) -> list[str]:
    if not report.runs:
        return []
    lines = ["", f"{counted(len(report.runs), 'run')}: {runs_words(report)}"]
    bad = [run for run in report.runs if run.status in BAD]
    rows: Sequence[Sequence[Any]] = [
        [run.run, run.command, moment(run.started_at), duration(run.seconds), run.status, run.error or ""] for run in bad[-SHOWN:]
    ]
    listed = table(["run", "command", "started", "took", "status", ""], rows, style, indent="  ", open_end=True)
    return [*lines, *([listed] if listed else [])]


# ---------------------------------------------------------------- for a message


def message(report: Morning, place: str) -> str:
    """The text of a message: what is to be done, and the counts; no value and no key of a record."""
    todo = needs(report)
    lines = [headline(report)]
    if todo:
        lines += ["", *(f"- {need_text(need)}" for need in todo)]
    for name, entity in report.entities.items():
        lines += ["", f"{visible(name)}: {counted(entity.standing.total, 'record')}{_moved(entity)}{compared_words(entity, report)}"]
        for system, item in entity.compared.items():
            lines.append(f"  {system}: {counted(item.rows, 'row')}, {_differ(item.differ, item.missing, item.extra) or 'as agreed'}")
    if report.runs:
        lines += ["", f"{counted(len(report.runs), 'run')}: {runs_words(report)}"]
    return "\n".join([*lines, "", f"-- {place}"])
