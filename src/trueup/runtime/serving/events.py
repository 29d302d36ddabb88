"""What the server tells while it runs: one line per event, for programs (JSON) or for a person at a terminal; never a record's value."""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, TextIO

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable


class Log:
    """Lines to a stream. Any thread may tell something; a stream that is gone is told nothing more."""

    def __init__(self, stream: TextIO | None = None, *, plain: bool = False, clock: Callable[[], datetime] | None = None) -> None:
        """`plain`: for a person; else JSON. `stream` None: stderr."""
        self._stream: TextIO | None = stream or sys.stderr
        self._plain = plain
        self._clock = clock or (lambda: datetime.now(UTC))
        self._turn = Lock()

    def event(self, what: str, **about: Any) -> None:
        """Tell one event. What is None or empty is left out."""
        about = {name: value for name, value in about.items() if value not in (None, "", {}, [])}
        at = self._clock()
        if self._plain:
            line = f"{at.astimezone():%H:%M:%S}  {what:<14} {_words(about)}".rstrip()
        else:
            line = orjson.dumps({"at": at, "event": what, **about}, default=str, option=orjson.OPT_UTC_Z).decode()
        with self._turn:
            if self._stream is None:
                return
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None

    def defect(self, error: BaseException, **about: Any) -> None:
        """Tell a defect of the program: its kind and place, which hold no values, rather than its text, which may."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        place = f"{last[0].filename.rpartition('/')[2]}:{last[0].lineno} in {last[0].name}" if last else ""
        self.event("defect", kind=type(error).__name__, where=place, **about)


def _words(about: dict[str, Any]) -> str:
    return "  ".join(_word(name, value) for name, value in about.items())


def _word(name: str, value: Any) -> str:
    if isinstance(value, dict):
        parts = [_word(str(key), part) for key, part in value.items()]
        return f"{name}: {', '.join(parts)}" if name else ", ".join(parts)
    return str(value) if name in {"entity", "why"} else f"{name} {value}"
