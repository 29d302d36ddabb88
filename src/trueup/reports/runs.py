"""A run or a plan in words, from the same values that `--json` prints: counts per system, and what needs a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, Style, clip, counted, duration, show, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STATUS_WORDS = {
    "running": "running",
    "done": "done",
    "partial": "done, but something needs a person",
    "held": "held: a guard waits for a person",
    "failed": "could not run",
}
_STATUS_COLOURS = {"done": "good", "partial": "warn", "held": "warn", "failed": "bad"}
_HEAD = ("system", "read", "new", "changed", "gone", "rejected", "|", "created", "updated", "deleted", "failed", "waiting")
CHANGE_FIELDS_SHOWN = 40
WHICH_VANISHED = "`trueup sql \"SELECT * FROM links WHERE state = 'missing'\"`"
VALUE_CELLS = 48


def run_text(body: Mapping[str, Any], style: Style = PLAIN) -> str:
    """A run's summary (as `summary_dict` gives it) for people."""
    planned = body.get("run") is None
    status = str(body.get("status", "running"))
    words = style.paint(STATUS_WORDS.get(status, status), _STATUS_COLOURS.get(status, "bold"))
    title = "Plan (nothing was changed)" if planned else f"Run {body['run']}"
    seconds = body.get("seconds")
    lines = [style.paint(title, "bold") if planned else f"{style.paint(title, 'bold')}: {words}, {duration(seconds)}"]
    for name, entity in body.get("entities", {}).items():
        lines += ["", *_entity_lines(name, entity, style, planned=planned)]
    needs = list(attention(body))
    if needs:
        lines += ["", *(f"{style.paint('!', 'warn')} {line}" for line in needs)]
    return "\n".join(lines)


def _entity_lines(name: str, entity: Mapping[str, Any], style: Style, *, planned: bool) -> Iterator[str]:
    golden = entity["golden"]
    said = [
        f"{golden[part]:,} {word}"
        for part, word in (("created", "new"), ("updated", "changed"), ("deleted", "deleted"), ("reread", "read otherwise"))
        if golden.get(part)
    ]
    tail = f" ({', '.join(said)})" if said else ""
    yield f"{style.paint(name, 'bold')}: {counted(golden['total'], 'record')}{tail}"
    rows = []
    for system, part in entity["systems"].items():
        seen, done = part["observed"], part["delivered"]
        rows.append(
            [
                system,
                *(seen[item] for item in ("read", "created", "updated", "deleted", "rejected")),
                "|",
                *(done[item] for item in ("created", "updated", "deleted", "failed", "pending")),
            ]
        )
    head = list(_HEAD)
    if planned:
        head[7:10] = ["to create", "to update", "to delete"]
    yield table(head, rows, style, indent="  ")
    yield from (f"  {note}" for note in entity.get("notes", ()))


def attention(body: Mapping[str, Any]) -> Iterator[str]:
    """One line for each thing that a person should know or do, with the command that helps."""
    for name, entity in body.get("entities", {}).items():
        for system, part in entity["systems"].items():
            yield from _system_attention(f"{name} in {system}", part)
        yield from _entity_attention(name, entity)


def _system_attention(place: str, part: Mapping[str, Any]) -> Iterator[str]:
    seen, done = part["observed"], part["delivered"]
    if part.get("error"):
        yield f"{place}: left out of this run, tried again at the next: {'; '.join(str(part['error']).splitlines())}"
    if seen["rejected"]:
        yield f"{place}: {counted(seen['rejected'], 'row')} could not be read or understood: `trueup failures` says which and why"
    if done["failed"]:
        yield f"{place}: {counted(done['failed'], 'record')} could not be written: `trueup failures` says which and why"
    if done["stale"]:
        yield f"{place}: {counted(done['stale'], 'row')} changed while being written and were looked at again"


def _entity_attention(name: str, entity: Mapping[str, Any]) -> Iterator[str]:
    if entity.get("held"):
        yield f"{name}: {counted(entity['held'], 'part')} of this run held by a guard: `trueup holds`, then approve, refuse or leave"
    yield from _vanished(name, entity)
    if entity["conflicts"]["open"]:
        yield f"{name}: {counted(entity['conflicts']['open'], 'conflict')} to settle: `trueup conflicts`"
    told = sum(part["observed"]["rejected"] + part["delivered"]["failed"] for part in entity["systems"].values())
    standing = entity.get("failures", {}).get("open", 0)
    if standing and not told:
        yield f"{name}: {counted(standing, 'failure')} of earlier runs still open: `trueup failures` says which and why"
    if entity.get("parked"):
        yield f"{name}: {counted(entity['parked'], 'row')} might be one of several records: `trueup matches`"
    if entity.get("apart"):
        yield (
            f"{name}: {counted(entity['apart'], 'value')} not agreed any more since a mapping changed, and left as they are:"
            " `trueup verify` shows which, `trueup verify --repair` replaces them"
        )
    if entity.get("left"):
        yield (
            f"{name}: {counted(entity['left'], 'value or row', 'values and rows')} left apart, as a person said: neither side is told,"
            " until one of them is edited; `trueup verify` counts them"
        )
    if entity.get("overruled"):
        yield f"{name}: {counted(entity['overruled'], 'edit')} overruled and put back: `trueup explain {name} KEY` says why"


def _vanished(name: str, entity: Mapping[str, Any]) -> Iterator[str]:
    missing, unbelieved = entity.get("missing", 0), entity.get("unbelieved", 0)
    if unbelieved:
        yield (
            f"{name}: {counted(unbelieved, 'row')} vanished, and may never have been there, or lie elsewhere now (a state that was put"
            f" back, another table or key): nothing is deleted for that. {WHICH_VANISHED} shows which; delete their records in another"
            " system, or put the rows back"
        )
    if missing > unbelieved:
        count = counted(missing - unbelieved, "row")
        yield (
            f"{name}: {count} vanished, and nothing says that deletes are meant: {WHICH_VANISHED} shows which;"
            " say `deletes:` in the configuration, or put the rows back"
        )


def changes_text(changes: Sequence[Mapping[str, Any]], total: int, style: Style = PLAIN) -> str:
    """A plan's changes, one line per field; `total` is how many there are in all."""
    if not changes:
        return ""
    rows: list[list[Any]] = []
    for change in changes:
        place = [change["entity"], change["system"], change["kind"], _record(change["record"]), change["key"] or "(new)"]
        fields = list(change["fields"].items())
        if not fields:
            rows.append([*place, "", "", ""])
        for number, (field, (before, after)) in enumerate(fields[:CHANGE_FIELDS_SHOWN]):
            values = ["" if change["kind"] == "create" else _value(before), _value(after)]
            rows.append([*(place if number == 0 else [""] * len(place)), field, *values])
    text = table(("entity", "system", "change", "record", "key", "field", "from", "to"), rows, style)
    if total > len(changes):
        text += f"\n… and {counted(total - len(changes), 'more change', 'more changes')}: --all shows every one"
    return text


def _record(number: int | None) -> str:
    return "new" if number is None else str(number)


def _value(value: Any) -> str:
    return clip(show(value), VALUE_CELLS)


def planned_total(body: Mapping[str, Any]) -> int:
    """How many deliveries a plan counts in all."""
    return sum(
        part["delivered"][kind]
        for entity in body["entities"].values()
        for part in entity["systems"].values()
        for kind in ("created", "updated", "deleted")
    )


def runs_text(rows: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """The list of runs; the empty text for none."""
    lines = [
        [
            row["run"],
            row["command"],
            row["started_at"],
            duration(row["seconds"]),
            ", ".join(row["entities"]),
            row["status"],
            row.get("error", ""),
        ]
        for row in rows
    ]
    return table(("run", "command", "started", "took", "entities", "status", ""), lines, style, open_end=True)
