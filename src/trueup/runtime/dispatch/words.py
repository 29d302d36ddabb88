"""How jobs and their answers are written down: JSON for passes, frames in Arrow's form for rows."""

from __future__ import annotations

import io
import struct
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.connectors.base import Page, Part, Reject
from trueup.errors import TrueupError
from trueup.model import Delivered, EntitySummary, Observed, SystemSummary
from trueup.runtime.dispatch.counted import Counted
from trueup.runtime.lane import Prepared
from trueup.runtime.pass_options import PassOptions
from trueup.runtime.triggers import Triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trueup.runtime.hands import Hands

_FRAMES = ("rows", "image", "fields", "expected", "before", "withheld")


# ---------------------------------------------------------------- passes


def pass_wanted(options: PassOptions, run: int | None) -> bytes:
    """A pass to be run; `run` None: under a run of whoever does it."""
    wanted: dict[str, Any] = {"full": options.full, "known_s": options.known_s, "away": sorted(options.away), "run": run}
    wanted["keys"] = None if options.keys is None else {name: list(keys) for name, keys in options.keys.items()}
    wanted["only"] = None if options.only is None else sorted(options.only)
    asked = options.triggers
    wanted["telling"] = sorted(options.telling)
    wanted["triggers"] = None if asked is None else [sorted(asked.events), None if asked.fields is None else sorted(asked.fields)]
    return orjson.dumps(wanted)


def pass_options(payload: bytes, hands: Hands | None) -> tuple[PassOptions, int | None]:
    """The same, as `pass_wanted` wrote it."""
    wanted = orjson.loads(payload)
    only = None if wanted["only"] is None else frozenset(wanted["only"])
    away = frozenset(wanted["away"])
    options = PassOptions(full=wanted["full"], keys=wanted["keys"], only=only, away=away, known_s=wanted["known_s"], hands=hands)
    options = replace(options, telling=frozenset(wanted["telling"]))
    if wanted["triggers"] is not None:
        events, fields = wanted["triggers"]
        options = replace(options, triggers=Triggers(frozenset(events), None if fields is None else frozenset(fields)))
    return options, wanted["run"]


def pass_done(summary: EntitySummary, problem: str | None, counted: Counted) -> bytes:
    """What came of a pass."""
    return orjson.dumps({"summary": asdict(summary), "problem": problem, "counted": counted.told()}, default=str)


def failed(error: TrueupError, counted: Counted) -> bytes:
    """Why a job could not be done."""
    told = {name: getattr(error, name) for name in ("message", "hint", "system", "entity", "key")}
    return orjson.dumps({"failed": told, "counted": counted.told()})


def pass_summary(answer: bytes, hears: Callable[[Counted], None]) -> tuple[EntitySummary, str | None]:
    """What came of a pass, as it was answered; `hears` what was counted meanwhile. Raises TrueupError where it could not be done."""
    told = orjson.loads(answer)
    hears(Counted.heard(told["counted"]))
    _raise_failed(told)
    body = told["summary"]
    systems = {
        name: SystemSummary(Observed(**part["observed"]), Delivered(**part["delivered"]), part["error"])
        for name, part in body.pop("systems").items()
    }
    body["changes"] = []
    known = {item.name for item in fields(EntitySummary)}
    return EntitySummary(systems=systems, **{name: value for name, value in body.items() if name in known}), told["problem"]


def _raise_failed(told: dict[str, Any]) -> None:
    if "failed" in told:
        words = told["failed"]
        raise TrueupError(words.pop("message"), **words)


# ---------------------------------------------------------------- rows


def rows_wanted(system: str, prepared: Prepared) -> bytes:
    """Rows to be written to a system."""
    frames = [getattr(prepared, name) for name in _FRAMES]
    head = {"system": system, "kind": prepared.kind, "moved": sorted(prepared.moved)}
    return _joined(orjson.dumps(head), [b"" if frame is None else _packed(frame) for frame in frames])


def rows_to_write(payload: bytes) -> tuple[str, Prepared]:
    """The same, as `rows_wanted` wrote it."""
    first, parts = _parts(payload)
    head = orjson.loads(first)
    frames = {name: _unpacked(part) if part else None for name, part in zip(_FRAMES, parts, strict=True)}
    prepared: Any = {"kind": head["kind"], "moved": frozenset(head["moved"]), **frames}
    return head["system"], Prepared(**prepared)


def rows_written(outcomes: pl.DataFrame, counted: Counted) -> bytes:
    """What a system answered."""
    return _joined(orjson.dumps({"counted": counted.told()}), [_packed(outcomes)])


def outcomes_of(answer: bytes, hears: Callable[[Counted], None]) -> pl.DataFrame:
    """What a system answered; `hears` what was counted meanwhile. Raises TrueupError where it could not be asked."""
    return _unpacked(_opened(answer, hears)[1][0])


def _opened(answer: bytes, hears: Callable[[Counted], None]) -> tuple[dict[str, Any], list[bytes]]:
    """The head and the parts of an answer that carries rows."""
    told, parts = (orjson.loads(answer), []) if answer[:1] == b"{" else _head_and_parts(answer)
    hears(Counted.heard(told["counted"]))
    _raise_failed(told)
    return told, parts


def _head_and_parts(answer: bytes) -> tuple[dict[str, Any], list[bytes]]:
    head, parts = _parts(answer)
    return orjson.loads(head), parts


# ---------------------------------------------------------------- parts of readings


def part_wanted(system: str, columns: Sequence[str], part: Part) -> bytes:
    """A part of a system to be read."""
    return orjson.dumps({"system": system, "columns": list(columns), "moment": part.moment, "place": part.place})


def part_to_read(payload: bytes) -> tuple[str, list[str], Part]:
    """The same, as `part_wanted` wrote it."""
    told = orjson.loads(payload)
    return told["system"], told["columns"], Part(told["moment"], told["place"])


def part_read(pages: Sequence[Page], counted: Counted) -> bytes:
    """What a part showed."""
    told = [
        {
            "cursor": page.cursor,
            "complete": page.complete,
            "rejected": [[reject.key, reject.reason, reject.where, reject.column] for reject in page.rejected],
            "gone": list(page.gone),
        }
        for page in pages
    ]
    return _joined(orjson.dumps({"pages": told, "counted": counted.told()}), [_packed(page.rows) for page in pages])


def pages_of(answer: bytes, hears: Callable[[Counted], None]) -> list[Page]:
    """What a part showed; `hears` what was counted meanwhile. Raises TrueupError where it could not be read."""
    told, parts = _opened(answer, hears)
    return [
        Page(_unpacked(rows), page["cursor"], page["complete"], tuple(Reject(*reject) for reject in page["rejected"]), tuple(page["gone"]))
        for page, rows in zip(told["pages"], parts, strict=True)
    ]


def _packed(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def _unpacked(data: bytes) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(data))


def _joined(head: bytes, parts: list[bytes]) -> bytes:
    return b"".join(struct.pack("!I", len(part)) + part for part in (head, *parts))


def _parts(data: bytes) -> tuple[bytes, list[bytes]]:
    found = []
    place = 0
    while place < len(data):
        (size,) = struct.unpack_from("!I", data, place)
        found.append(data[place + 4 : place + 4 + size])
        place += 4 + size
    return found[0], found[1:]
