"""The answer to a package, itself a small package: `invoice-000123-ack`, with `datapackage.json` and `problems.csv`.

`trueup` in it names the package answered by entity, sequence and the SHA-256 of its statement, and says whether it was `accepted` or
`refused`, how it went wrong, rows and totals as counted here, and how many rows wait for somebody. `problems.csv` lists those rows, at most
a thousand.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import orjson

from trueup.errors import PackageError, PackageTrouble
from trueup.exchange.signing import check_signature, signature
from trueup.exchange.statement import FILE, FORM, LARGEST_STATEMENT, SIGNATURE, in_zone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trueup.sealing import Key

PROBLEMS = "problems.csv"
PROBLEMS_SHOWN = 1_000
Status = Literal["accepted", "refused"]


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row that is not taken: its trueup_id, the field (empty: the row as a whole), why."""

    id: str
    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a package. `statement` is the SHA-256 of its `datapackage.json`; empty where that could not be read.

    `kind` and `why` say how it went wrong (None: it did not); `waiting` is how many rows wait for somebody at the receiver.
    """

    entity: str
    sequence: int
    status: Status
    at: datetime
    statement: str = ""
    kind: PackageTrouble | None = None
    why: str | None = None
    rows: int = 0
    totals: Mapping[str, str] = field(default_factory=dict)
    waiting: int = 0
    problems: Sequence[RowProblem] = ()


def write_answer(folder: Path, answer: Answer, key: Key | None) -> None:
    """Write the answer into an empty folder, signed where there is a key. Raises OSError."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("trueup_id", "field", "reason"))
    writer.writerows((one.id, one.field, one.reason) for one in answer.problems[:PROBLEMS_SHOWN])
    problems = out.getvalue().encode()
    fields = [{"name": name, "type": "string"} for name in ("trueup_id", "field", "reason")]
    own = {
        "form": FORM,
        "entity": answer.entity,
        "sequence": answer.sequence,
        "status": answer.status,
        "at": in_zone(answer.at, "UTC"),
        "statement": answer.statement,
        "kind": answer.kind,
        "why": answer.why,
        "rows": answer.rows,
        "totals": dict(answer.totals),
        "waiting": answer.waiting,
    }
    body = {
        "profile": "data-package",
        "name": f"{answer.entity}-{answer.sequence:06d}-ack".lower(),
        "created": in_zone(answer.at, "UTC"),
        "resources": [
            {
                "name": "problems",
                "path": PROBLEMS,
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "dialect": {"delimiter": ",", "quoteChar": '"', "doubleQuote": True, "lineTerminator": "\n", "header": True},
                "schema": {"fields": fields},
                "hash": f"sha256:{sha256(problems).hexdigest()}",
                "bytes": len(problems),
            }
        ],
        "trueup": own,
    }
    text = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / PROBLEMS).write_bytes(problems)
    (folder / FILE).write_bytes(text)
    if key is not None:
        (folder / SIGNATURE).write_bytes(signature(key, text))


def read_answer(folder: Path, entity: str, sequence: int, signers: Sequence[str]) -> Answer:
    """The answer in a folder, without its list of rows. Raises PackageError where it is not whole, not genuine, or about something else."""
    try:
        with (folder / FILE).open("rb") as file:
            text = file.read(LARGEST_STATEMENT)
    except FileNotFoundError:
        raise PackageError(f"{FILE} is not there yet", kind="half-copied") from None
    if signers:
        check_signature(text, folder / SIGNATURE, signers)
    try:
        own = orjson.loads(text)["trueup"]
        found = Answer(
            entity=str(own["entity"]),
            sequence=int(own["sequence"]),
            status=_one_of(own["status"], get_args(Status)),
            at=datetime.fromisoformat(own["at"]),
            statement=str(own["statement"]),
            kind=None if own["kind"] is None else cast("PackageTrouble", _one_of(own["kind"], get_args(PackageTrouble))),
            why=None if own["why"] is None else str(own["why"]),
            rows=int(own["rows"]),
            totals={str(name): str(total) for name, total in own["totals"].items()},
            waiting=int(own["waiting"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageError(f"the answer cannot be read: {error!r}", kind="wrong") from None
    if (found.entity, found.sequence) != (entity, sequence):
        raise PackageError(f"the answer is about {found.entity}-{found.sequence:06d}", kind="tampered")
    return found


def _one_of(value: Any, known: Sequence[str]) -> Any:
    if value not in known:
        raise ValueError(value)
    return value
