"""The bytes of a CSV file as text: which encoding it has, and a form of it in which commas, quotes and line ends are single bytes.

Every encoding that is accepted keeps the ASCII characters of a CSV file's structure as themselves, so records can be cut and put back
as bytes; UTF-16 does not, and is therefore turned into UTF-8 in a temporary file (unpaired surrogates survive both ways).
"""

from __future__ import annotations

import codecs
import re
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from trueup.connectors.filebase import BLOCK_BYTES
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from trueup.connectors.filebase import FilePath

UTF8 = "utf-8"
FALLBACK = "cp1252"

_WIDE = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
# Multi-byte encodings whose trailing bytes include none of , ; tab, quotes and line ends (but | in most of them).
_MULTI_BYTE = {"gb18030", "gbk", "gb2312", "big5", "cp950", "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949", "johab"}
_SAMPLE_BYTES = 4096
_VALID_MULTIBYTE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How text stands in the file.

    `codec` decodes a field of the working form. `bom` are the file's first bytes that are no text. `wide` is the file's own UTF-16
    codec where the working form is a UTF-8 copy, else None.
    """

    codec: str
    bom: bytes = b""
    wide: str | None = None

    @property
    def label(self) -> str:
        """The encoding's name for messages."""
        return self.wide or self.codec

    def to_file(self, working: bytes) -> bytes:
        """Whole characters of the working form, as they stand in the file."""
        if self.wide is None:
            return working
        return working.decode(UTF8, "surrogatepass").encode(self.wide, "surrogatepass")


def known_encoding(name: str) -> str | None:
    """Python's name of an encoding that a CSV file may have, or None when it is unknown or cannot be worked with."""
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return None
    if codec in {"utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"} or codec in _MULTI_BYTE:
        return codec
    return codec if _is_single_byte_ascii(codec) else None


def _is_single_byte_ascii(codec: str) -> bool:
    """Whether each byte is one character of its own and the first 128 are ASCII."""
    try:
        every = bytes(range(256)).decode(codec, "replace")
    except (LookupError, UnicodeError):  # no text encoding, such as base64
        return False
    return len(every) == 256 and every[:128] == bytes(range(128)).decode("ascii")


def allows_delimiter(codec: str, delimiter: str) -> bool:
    """Whether this delimiter's byte never is a part of another character."""
    return codec not in _MULTI_BYTE or delimiter in ",;\t"


def detect(system: str, path: FilePath, file: IO[bytes], declared: str | None) -> Encoding:
    """The encoding of a file that is open at its start (and is so again afterwards).

    Declared: that one, with the byte order mark found. Else by byte order mark; then UTF-16 by its zero bytes; then UTF-8 when the whole
    file is valid, or when it has more valid multi-byte characters than stray bytes (those rows are then rejected one by one, instead of
    garbling every other row); then Windows-1252. Raises ObjectUnreadableError for UTF-32.
    """
    head = file.read(_SAMPLE_BYTES)
    file.seek(0)
    if head[:4] in {codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE}:
        raise ObjectUnreadableError(f"{path} is in UTF-32, which is not supported", hint="save it as UTF-8", system=system)
    wide = _WIDE.get(head[:2])
    if wide and declared in {None, "utf-16", wide}:
        return Encoding(UTF8, head[:2], wide)
    if head.startswith(codecs.BOM_UTF8) and declared in {None, UTF8, "utf-8-sig"}:
        return Encoding(UTF8, codecs.BOM_UTF8)
    if declared is not None:
        return _declared(declared)
    if zero_bytes := _zero_byte_order(head):
        return Encoding(UTF8, b"", zero_bytes)
    return Encoding(UTF8 if _looks_like_utf8(file) else FALLBACK)


def _declared(codec: str) -> Encoding:
    if codec.startswith("utf-16"):
        return Encoding(UTF8, b"", "utf-16-le" if codec == "utf-16" else codec)
    return Encoding(UTF8 if codec == "utf-8-sig" else codec)


def _zero_byte_order(head: bytes) -> str | None:
    """UTF-16 without a byte order mark: mostly Latin text has a zero in every second byte."""
    for start, codec in ((1, "utf-16-le"), (0, "utf-16-be")):
        half, other = head[start::2], head[1 - start :: 2]
        if half and half.count(0) * 2 > len(half) and not other.count(0):
            return codec
    return None


def _looks_like_utf8(file: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder(UTF8)()
    try:
        while block := file.read(BLOCK_BYTES):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        pass
    else:
        return True
    finally:
        file.seek(0)
    return _mostly_utf8(file)


def _mostly_utf8(file: IO[bytes]) -> bool:
    valid, stray, rest = 0, 0, b""
    while block := file.read(BLOCK_BYTES):
        data = rest + block
        cut = max(data.rfind(b"\n") + 1, len(data) - 4)  # a character split between blocks would count as stray
        rest = data[cut:]
        remainder, found = _VALID_MULTIBYTE.subn(b"", data[:cut])
        valid += found
        stray += len(_HIGH_BYTE.findall(remainder))
    file.seek(0)
    return valid > stray


def working_form(system: str, path: FilePath, file: IO[bytes], encoding: Encoding) -> tuple[IO[bytes], int]:
    """The file in its working form, and where its text starts. The form is `file` itself, or a temporary UTF-8 copy of UTF-16.

    Raises ObjectUnreadableError when UTF-16 text is cut off within a character.
    """
    if encoding.wide is None:
        return file, len(encoding.bom)
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    decoder = codecs.getincrementaldecoder(encoding.wide)("surrogatepass")
    file.seek(len(encoding.bom))
    while block := file.read(BLOCK_BYTES):
        copy.write(decoder.decode(block).encode(UTF8, "surrogatepass"))
    file.seek(0)
    if decoder.getstate()[0]:  # bytes that are no whole character
        copy.close()
        raise ObjectUnreadableError(
            f"{path} ends in the middle of a character: it is not whole", hint="put back a complete file", system=system
        )
    copy.seek(0)
    return copy, 0
