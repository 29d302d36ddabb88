"""Frames in buckets: in memory while they are small, in temporary files beyond that, so that memory stays bounded."""

from __future__ import annotations

import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Self

import polars as pl

from trueup import scratch
from trueup.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from types import TracebackType

MEMORY_BYTES = 32 * 1024 * 1024


class Spill:
    """Buckets of frames of one schema each. Use as a context manager: leaving it removes the temporary files."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        """Keep at most `memory_bytes` in memory; later frames go to files."""
        self._memory_bytes = memory_bytes
        self._held = 0
        self._frames: dict[Hashable, list[pl.DataFrame | Path]] = defaultdict(list)
        self._folder: Path | None = None
        self._files = 0
        self._turn = threading.Lock()  # systems are read side by side, into the same spill

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, bucket: Hashable, frame: pl.DataFrame) -> None:
        """Put a frame into a bucket; empty ones are left out. Raises StateError where a temporary file cannot be written."""
        if frame.is_empty():
            return
        size = int(frame.estimated_size())
        with self._turn:
            if self._held + size <= self._memory_bytes:
                self._held += size
                self._frames[bucket].append(frame)
                return
            path = self._new_file()
        try:
            frame.write_ipc(path, compression="lz4")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _no_room(path.parent, error) from None
        with self._turn:
            self._frames[bucket].append(path)

    def _new_file(self) -> Path:
        if self._folder is None:
            try:
                self._folder = scratch.new_folder()
            except OSError as error:
                raise _no_room(Path(tempfile.tempdir or "TMPDIR"), error) from None
        self._files += 1
        return self._folder / f"{self._files}.arrow"

    def buckets(self) -> list[Hashable]:
        """The buckets that hold anything, in the order in which they were first used."""
        return list(self._frames)

    def take(self, bucket: Hashable) -> Iterator[pl.DataFrame]:
        """The frames of a bucket, one by one; they are given away and freed."""
        for item in self._frames.pop(bucket, []):
            if isinstance(item, Path):
                frame = pl.read_ipc(item)
                item.unlink()
            else:
                frame = item
                with self._turn:
                    self._held -= int(frame.estimated_size())
            yield frame

    def look(self, bucket: Hashable) -> Iterator[pl.DataFrame]:
        """The frames of a bucket, one by one; they stay there."""
        for item in self._frames.get(bucket, []):
            yield pl.read_ipc(item) if isinstance(item, Path) else item

    def drop(self, bucket: Hashable) -> None:
        """Forget a bucket."""
        for _frame in self.take(bucket):
            continue

    def drop_of(self, system: str) -> None:
        """Forget every bucket of a system's pages."""
        for bucket in [bucket for bucket in self.buckets() if isinstance(bucket, tuple) and bucket[0] == system]:
            self.drop(bucket)

    def close(self) -> None:
        """Forget everything and remove the temporary files. May be called twice."""
        self._frames.clear()
        self._held = 0
        if self._folder is not None:
            scratch.remove(self._folder)
            self._folder = None


def _no_room(folder: Path, error: Exception) -> StateError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return StateError(
        f"a temporary file cannot be written in {folder}: {reason}", hint="free some space there, or name another folder in TMPDIR"
    )
