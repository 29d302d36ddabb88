"""Arrow arrays out of a driver's stream, one by one, while other threads run.

nanoarrow asks a stream for its next array without letting go of the interpreter, so that while one database is waited for, no other one is
read. The function behind it (https://arrow.apache.org/docs/format/CStreamInterface.html) is called here through ctypes, which does let go.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import nanoarrow
from nanoarrow._array import CArray
from nanoarrow._utils import NanoarrowException

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Stream(ctypes.Structure):
    """The C struct ArrowArrayStream."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("get_schema", "get_next", "get_last_error", "release", "private_data")]


_GET_NEXT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_GET_LAST_ERROR = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)


def arrays(source: Any) -> Iterator[CArray]:
    """The arrays of a stream (anything with `__arrow_c_stream__`). Raises NanoarrowException with the driver's words where it fails."""
    stream = nanoarrow.c_array_stream(source)
    address = stream._addr()  # noqa: SLF001  nanoarrow's way to the struct
    struct = _Stream.from_address(address)
    get_next, get_last_error = _GET_NEXT(struct.get_next), _GET_LAST_ERROR(struct.get_last_error)
    schema = stream.get_schema()
    try:
        while True:
            array = CArray.allocate(schema)
            status = get_next(address, array._addr())  # noqa: SLF001
            if status:
                words = get_last_error(address)
                raise NanoarrowException("the next rows", status, words.decode(errors="replace") if words else "")
            if not array.is_valid():
                return
            yield array
    finally:
        stream.release()
