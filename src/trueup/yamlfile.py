"""YAML with line numbers: plain Python values, and for every path the line where it was written.

Reads YAML 1.2, so `no`, `off`, `NO` and `02:00` are text. Differences, each for the sake of business data: a number with leading zeros
(`007`) and a date stay text as written; the keys of a mapping are always text; an integer or a float remembers how it was written
(`WrittenInt`, `WrittenFloat`), so that `1.10` can still be read as the text or the exact decimal that was meant.

What is wrong in the text never raises from here: it is a `Problem` in the document.
"""

from __future__ import annotations

import codecs
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from trueup.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

YamlPath = tuple[str | int, ...]
"""From the top of the document: keys of mappings and 0-based numbers of list items."""

MAX_DEPTH = 60
MAX_NODES = 200_000  # aliases counted each time they are used: a document of a few lines cannot fill the memory
MAX_DIGITS = 400  # a longer number is left as text: Python refuses to read thousands of digits

_TAG = "tag:yaml.org,2002:"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)


class WrittenInt(int):
    """An integer that remembers its text in the file."""

    text: str

    def __new__(cls, value: int, text: str) -> Self:
        """Keep the value and how it was written."""
        number = super().__new__(cls, value)
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]  # for copies: int alone would forget the text
        return int(self), self.text


class WrittenFloat(float):
    """A float that remembers its text in the file."""

    text: str

    def __new__(cls, value: float, text: str) -> Self:
        """Keep the value and how it was written."""
        number = super().__new__(cls, value)
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]  # for copies: float alone would forget the text
        return float(self), self.text


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """What a YAML text says. `data` is None for an empty text and for one that cannot be read (then `problems` says why).

    `lines` gives the 1-based line of each path: of the key in a mapping, of the item in a list.
    """

    file: str
    data: Any
    lines: Mapping[YamlPath, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def line(self, path: YamlPath) -> int:
        """The line of `path`, or of its nearest ancestor that was written; 1 for an empty document."""
        for length in range(len(path), -1, -1):
            found = self.lines.get(path[:length])
            if found is not None:
                return found
        return 1

    def problem(self, path: YamlPath, message: str, hint: str = "") -> Problem:
        """A problem at `path`."""
        return Problem(self.file, self.line(path), dotted(path), message, hint)


def dotted(path: YamlPath) -> str:
    """A path for people: `entities.customer.match[0]`; a key that holds a dot is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = f'"{part}"' if "." in part else part
            text += f".{shown}" if text else shown
    return text


def plain(value: Any) -> Any:
    """The value without memory of how its numbers were written: int, float, str, bool, None, list and dict only."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, WrittenInt):
        return int(value)
    if isinstance(value, WrittenFloat):
        return float(value)
    return value


def read_yaml(
    path: Path | str, *, missing: str = "give the file's path with -c; `trueup init NAME=ADDRESS NAME=ADDRESS` proposes one"
) -> YamlDocument:
    """Read a file (UTF-8, or UTF-16 with its mark). A file that is missing or cannot be read is a problem of the document.

    `missing` is what to do where there is none.
    """
    file = str(path)
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        return _unreadable(file, 0, "there is no such file", missing)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return _unreadable(file, 0, f"the file cannot be read: {reason}", "")
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _unreadable(file, line, "the file is not UTF-8 text", "save it with the encoding UTF-8")
    return parse_yaml(text, file)


def parse_yaml(text: str, file: str) -> YamlDocument:
    """Read YAML text; `file` names it in problems."""
    loader = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an anchor that is used twice: legal in YAML 1.2
            node = loader.compose(text)
    except MarkedYAMLError as error:
        return _unreadable(file, *_syntax(error))
    except ReaderError as error:
        line = text.count("\n", 0, max(error.position, 0)) + 1 if isinstance(error.position, int) else 0
        return _unreadable(file, line, "a control character cannot stand in YAML", "remove it, or write it escaped in double quotes")
    except RecursionError:
        return _unreadable(file, 0, f"values are nested more than {MAX_DEPTH} deep", "")
    except (YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        # The YAML library lets a few of its own slips through on malformed text, for example an escape that names no character.
        return _unreadable(file, 0, f"this is not valid YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}", "")
    reader = _Reader(file)
    try:
        data = reader.value(node, ()) if node is not None else None
    except _TooMuchError as error:
        reader.problems.append(Problem(file, error.line, dotted(error.path), str(error)))
        data = None
    return YamlDocument(file, data, reader.lines, tuple(reader.problems))


def _unreadable(file: str, line: int, message: str, hint: str) -> YamlDocument:
    return YamlDocument(file, None, {}, (Problem(file, line, "", message, hint),))


def _syntax(error: MarkedYAMLError) -> tuple[int, str, str]:
    """Line, message and hint of a syntax error."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 0
    problem = (error.problem or "this is not valid YAML").strip()
    if "'\\t'" in problem:
        return line, "a tab cannot indent or separate here", "YAML indents with spaces: replace the tab by spaces"
    if "another document" in problem:
        return line, "a second document begins here", "keep one document in the file: remove the line `---`"
    if "mapping values are not allowed" in problem:
        return line, "a `:` is not expected here", "put text that holds `: ` in quotes, and check the indentation"
    context = f" {error.context.strip()}" if error.context else ""
    return line, f"this is not valid YAML: {problem}{context}", "check indentation, brackets and quotes on this line and the one before"


class _TooMuchError(Exception):
    """The document is too deep, too large, or contains itself."""

    def __init__(self, message: str, line: int, path: YamlPath) -> None:
        super().__init__(message)
        self.line = line
        self.path = path


class _Reader:
    """Turns nodes into plain values and notes the line of each path."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[YamlPath, int] = {}
        self.problems: list[Problem] = []
        self._nodes = 0
        self._open: set[int] = set()

    def value(self, node: Node, path: YamlPath) -> Any:
        """The value of a node; children are read with their own paths."""
        line = _line(node)
        self.lines.setdefault(path, line)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _TooMuchError(f"more than {MAX_NODES:,} values (aliases counted each time)", line, ())
        if len(path) > MAX_DEPTH:
            raise _TooMuchError(f"values are nested more than {MAX_DEPTH} deep", line, path[:3])
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            raise _TooMuchError("this value contains itself through an alias", line, path[:3])
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return self._list(node, path)
            return self._mapping(node, path) if isinstance(node, MappingNode) else None
        finally:
            self._open.discard(id(node))

    def _list(self, node: SequenceNode, path: YamlPath) -> Any:
        if node.tag != f"{_TAG}seq":
            self._report(_line(node), path, f"the tag {node.tag} is not known here", "remove it")
        return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]

    def _mapping(self, node: MappingNode, path: YamlPath) -> dict[str, Any]:
        if node.tag != f"{_TAG}map":
            self._report(_line(node), path, f"the tag {node.tag} is not known here", "remove it")
        result: dict[str, Any] = {}
        merged: list[tuple[str, Node, Node]] = []
        for key_node, value_node in node.value:
            if isinstance(key_node, ScalarNode) and key_node.tag == f"{_TAG}merge":
                merged.extend(self._merged(value_node, path))
                continue
            if not isinstance(key_node, ScalarNode):
                self._report(_line(key_node), path, "a key must be plain text", "write `key: value`; put braces or brackets in quotes")
                continue
            key = str(key_node.value)
            if key in result:
                first = self.lines[*path, key]
                self._report(_line(key_node), (*path, key), f"`{key}` is given twice (first in line {first})", "keep one of them")
                continue
            self.lines[*path, key] = _line(key_node)
            result[key] = self.value(value_node, (*path, key))
        for key, key_node, value_node in merged:  # what stands here itself wins over what is merged in
            if key not in result:
                self.lines[*path, key] = _line(key_node)
                result[key] = self.value(value_node, (*path, key))
        return result

    def _merged(self, node: Node, path: YamlPath, depth: int = 0) -> list[tuple[str, Node, Node]]:
        """The entries of `<<: *alias` or `<<: [*a, *b]`, those that win first."""
        if depth > MAX_DEPTH:
            message = "this value contains itself through an alias"
            raise _TooMuchError(message, _line(node), path)
        sources = node.value if isinstance(node, SequenceNode) else [node]
        found: list[tuple[str, Node, Node]] = []
        for source in sources:
            if not isinstance(source, MappingNode):
                self._report(_line(source), path, "`<<` can only merge mappings", "")
                continue
            deeper = []
            for key, value in source.value:
                if isinstance(key, ScalarNode) and key.tag == f"{_TAG}merge":
                    deeper.extend(self._merged(value, path, depth + 1))
                elif isinstance(key, ScalarNode):
                    found.append((str(key.value), key, value))
            found.extend(deeper)
        return found

    def _scalar(self, node: ScalarNode, path: YamlPath) -> Any:
        text = str(node.value)
        tag = str(node.tag)
        if tag == f"{_TAG}str":
            return text
        if not tag.startswith(_TAG) or tag.removeprefix(_TAG) not in {"int", "float", "bool", "null", "timestamp", "merge", "value"}:
            self._report(_line(node), path, f"the tag {tag} is not known here", "remove it, or put the text in quotes")
            return text
        return plain_scalar(text)

    def _report(self, line: int, path: YamlPath, message: str, hint: str) -> None:
        self.problems.append(Problem(self.file, line, dotted(path), message, hint))


def plain_scalar(text: str) -> Any:
    """What an unquoted scalar means: null, boolean, integer, float, else the text itself."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) > MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return WrittenInt(int(text), text)
    if _BASED.fullmatch(text):
        return WrittenInt(int(text, 0), text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return WrittenFloat(number, text) if abs(number) != float("inf") else text
    return text


def _line(node: Node) -> int:
    mark = node.start_mark
    return int(mark.line) + 1 if mark is not None else 0
