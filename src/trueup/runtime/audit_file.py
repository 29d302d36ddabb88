"""The audit trail as a file: JSON Lines under a first line that says how many there are and which head they end with.

Each line is one of the trail with its `hash` beside what it says, so that a file can be checked by itself, without trueup if need be.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueup.core.chain import Flaw, Head, Verdict, canonical, examine, read_head
from trueup.errors import TrueupError, UsageError
from trueup.store import audit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from trueup.store import Db

FORMAT = "trueup audit"
VERSION = 1
_LONGEST = 64 * 1024 * 1024


class _CutShortError(Exception):
    """The file ends within a line."""


def export(db: Db, path: Path, now: datetime) -> Head:
    """Write the whole trail into a file, which appears under its name only when it is whole. Raises UsageError where it cannot be written.

    A file of that name is replaced only if it is such an export.
    """
    if path.exists() and not _is_export(path):
        raise UsageError(f"{path} is there already, and is no audit file", hint="name another file")
    end = audit.head(db)
    first = {"format": FORMAT, "version": VERSION, "lines": end.number, "head": str(end), "exported_at": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(first) + "\n")
                for line in audit.lines(db):
                    file.write(canonical({**line.told, "hash": line.hash}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name a file in a folder that exists and has room") from error
    return end


def examine_state(db: Db, head: Head | None) -> Verdict:
    """Walk the trail in the state."""
    return examine(_numbered(audit.lines(db)), head)


def _numbered(lines: Iterable[audit.Line]) -> Iterator[tuple[str, str]]:
    """Texts and hashes. A line that stands under another number than it says was moved: its hash is shown as wrong."""
    for line in lines:
        said = f'"number":{line.number},'
        yield (line.text, line.hash) if said in line.text else (line.text, "moved")


def examine_file(path: Path, head: Head | None) -> Verdict:
    """Walk an exported file. Raises TrueupError where it cannot be read, or is no audit file."""
    try:
        with path.open("rb") as file:
            first = _object(file.readline(_LONGEST))
            if first is None or first.get("format") != FORMAT:
                raise TrueupError(f"{path} is not an audit file", hint="`trueup audit export FILE` writes one")
            if first.get("version") != VERSION:
                raise TrueupError(f"{path} was written by a newer trueup", hint="check it with that version")
            said = read_head(str(first.get("head")))
            verdict = _walk(file, head)
    except OSError as error:
        raise TrueupError(f"{path} cannot be read: {error.strerror}", hint="name a file that `trueup audit export` wrote") from error
    if verdict.flaw is not None:
        return verdict
    if said is None or said != verdict.head:
        end, expected = verdict.head.number or 0, (said.number if said is not None else None) or 0
        if expected > end:
            return Verdict(verdict.head, Flaw(end + 1, f"lines {end + 1} to {expected} are missing: the file was cut off"))
        return Verdict(verdict.head, Flaw(end, "the first line of the file names another end than the file has"))
    return verdict


def _walk(lines: Iterable[bytes], head: Head | None) -> Verdict:
    seen = _Seen()
    try:
        return examine(seen.of(lines), head)
    except _CutShortError:
        return Verdict(Head(seen.count, seen.hash), Flaw(seen.count + 1, f"the file ends within line {seen.count + 1}: it was cut off"))


class _Seen:
    """Turns the lines of a file into those of a chain, and counts them."""

    def __init__(self) -> None:
        self.count = 0
        self.hash = Head().hash

    def of(self, lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
        """Texts and hashes; what is no line of a trail gets a hash that cannot be right. Raises _CutShortError at a half line."""
        for raw in lines:
            line = _object(raw)
            if line is None and not raw.endswith(b"\n"):
                raise _CutShortError
            kept = str(line.pop("hash", "")) if line is not None else ""
            try:
                text = "" if line is None else canonical(line)
            except (ValueError, UnicodeEncodeError):
                text = ""
            yield text, kept
            self.count, self.hash = self.count + 1, kept


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_export(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = _object(file.readline(_LONGEST))
    except OSError:
        return False
    return first is not None and first.get("format") == FORMAT
