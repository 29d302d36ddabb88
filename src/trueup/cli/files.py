"""What commands share that write files to hand around, or take a moment that a person names."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_page(path: Path, text: str) -> None:
    """Write a report as a page. Raises UsageError."""
    from trueup.errors import UsageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {path}: {error.strerror}", hint="name a file in a folder that exists") from error


def write_files(files: Mapping[Path, str]) -> None:
    """Write all of them or none: each whole, beside its place, and then moved there. Raises UsageError."""
    from trueup.errors import UsageError

    begun: dict[Path, Path] = {}
    path = Path()
    try:
        for path, text in files.items():
            begun[path] = _beside(path, text)
        for path, part in begun.items():
            part.replace(path)
    except OSError as error:
        for part in begun.values():
            with suppress(OSError):
                part.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name a file in a folder that you may write to") from error


def _beside(path: Path, text: str) -> Path:
    """A file with this text in the folder of another one, readable to whom new files are."""
    if path.is_dir():
        raise IsADirectoryError(21, "it is a folder", str(path))
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
    except BaseException:
        part.unlink()
        raise
    return part


def moment_of(text: str, now: datetime, zone: str, option: str) -> datetime:
    """The past moment that a person means: so long ago (`24h`, `3d`), a day, or a time (in `zone` where it names none), in UTC.

    Raises UsageError.
    """
    from zoneinfo import ZoneInfo

    from pydantic_core import PydanticCustomError

    from trueup.config.forms import duration_s
    from trueup.errors import UsageError

    hint = f"write so long ago, as {option} 24h, or a day or time: {option} 2026-11-20, {option} 2026-11-20T06:30"
    try:
        moment = now - timedelta(seconds=duration_s(text.strip()))
    except (PydanticCustomError, OverflowError):
        try:
            found = datetime.fromisoformat(text.strip())
            moment = (found if found.tzinfo is not None else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{option}: this is no moment", hint=hint) from error
    if moment > now:
        raise UsageError(f"{option}: this moment is still to come", hint=hint)
    return moment
