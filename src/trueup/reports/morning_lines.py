"""The morning report as lines of CSV, for spreadsheets and programs: counts per system, and everything that waits or differs."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from trueup.reports.morning_facts import SEEN, WRITTEN, SystemMoved, checksums
from trueup.reports.morning_words import differing_words
from trueup.reports.table import second

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.reports.morning_facts import EntityMorning, Morning

HEAD = ("kind", "entity", "system", "name", "number", "id", "record", "row", "field", "since", "what")
"""`kind` is `count` (then `name` and `number`), `checksum` (`what`), `differing`, `failure`, `conflict`, `parked`, `hold` or `run`."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def morning_lines(report: Morning) -> str:
    """All lines, the head first. A text that a spreadsheet would take for a formula has an apostrophe before it."""
    text = io.StringIO()
    written = csv.DictWriter(text, HEAD, lineterminator="\r\n", restval="")
    written.writeheader()
    for name, entity in report.entities.items():
        for line in _lines(name, entity):
            written.writerow({key: _plain(value) for key, value in line.items()})
    for run in report.runs:
        line = {"kind": "run", "id": run.run, "since": second(run.started_at), "name": run.status, "what": run.error or run.command}
        written.writerow({key: _plain(value) for key, value in line.items()})
    return text.getvalue()


def _lines(name: str, entity: EntityMorning) -> Iterator[dict[str, Any]]:
    for system, standing in entity.standing.systems.items():
        place = {"entity": name, "system": system}
        compared, moved = entity.compared.get(system), entity.moved.systems.get(system, SystemMoved())
        counts: dict[str, int] = {"links": standing.links, "pending": standing.pending, "vanished": standing.missing}
        if compared is not None:
            counts |= {kind: getattr(compared, kind) for kind in ("rows", "differ", "missing", "extra", "waiting")}
        counts |= {f"seen {kind}": moved.seen[kind] for kind in SEEN} | {f"written {kind}": moved.written[kind] for kind in WRITTEN}
        for what, number in counts.items():
            yield {"kind": "count", **place, "name": what, "number": number}
        found = None if compared is None else checksums(compared)
        for what in ("agreed", "held") if found is not None else ():
            yield {"kind": "checksum", **place, "name": what, "number": found["rows"], "what": found[what]}  # type: ignore[index]
        if system in entity.left_out:
            yield {"kind": "left out", **place, "what": entity.left_out[system]}
    yield {"kind": "count", "entity": name, "name": "records", "number": entity.standing.total}
    for one in entity.differing:
        yield {
            "kind": "differing",
            "entity": name,
            "system": one.system,
            "record": one.record,
            "row": one.key,
            "field": "; ".join(one.fields),
            "since": second(one.since),
            "what": differing_words(one),
        }
    for item in entity.open:
        yield {
            "kind": item.kind,
            "entity": name,
            "system": item.system,
            "id": item.id,
            "record": item.record,
            "row": item.key,
            "field": item.field,
            "since": second(item.since),
            "what": item.why,
        }


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
