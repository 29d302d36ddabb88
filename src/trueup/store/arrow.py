"""Frames in the state, as compressed Arrow: streams, which for a few rows are ready ten times as soon as files. Older states hold files."""

from __future__ import annotations

import io

import polars as pl

_FILE = b"ARROW1"


def to_arrow(frame: pl.DataFrame, *, quickly: bool = False) -> bytes:
    """The frame, types and all; `quickly` where it is kept for a moment only, and its size matters less than the time."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression="lz4" if quickly else "zstd")
    return buffer.getvalue()


def from_arrow(payload: bytes) -> pl.DataFrame:
    """The frame that was written, also as a file."""
    return pl.read_ipc(io.BytesIO(payload)) if payload.startswith(_FILE) else pl.read_ipc_stream(io.BytesIO(payload))
