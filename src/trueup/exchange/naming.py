"""The names of packages: `invoice-000123`, a folder or a .zip (also sealed), and the answer to it, `invoice-000123-ack`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER, ZIP, SEALED = "", ".zip", ".zip.sealed"
TEMPORARY = ".trueup-tmp"
"""The end of a name under which something is being written. Such names begin with a dot."""

_NAME = re.compile(r"(?P<entity>[A-Za-z][A-Za-z0-9_-]*)-(?P<number>[0-9]{6,12})(?P<answer>-ack)?(?P<ending>|\.zip|\.zip\.sealed)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class PackageName:
    """A package's name. `ending` is that of a file, and empty for a folder; `answer`: it answers the package of that number."""

    entity: str
    number: int
    answer: bool = False
    ending: str = FOLDER

    def __str__(self) -> str:
        return self.stem + self.ending

    @property
    def stem(self) -> str:
        """The name without the ending of a file."""
        return f"{self.entity}-{self.number:06d}{'-ack' if self.answer else ''}"

    @property
    def its_answer(self) -> PackageName:
        """The name of the answer to it, a folder."""
        return replace(self, answer=True, ending=FOLDER)


def package_name(text: str) -> PackageName | None:
    """The name, taken apart; None for what is no package's name, such as one that is still being copied under another name."""
    found = _NAME.fullmatch(text)
    if found is None or (len(found["number"]) > 6 and found["number"].startswith("0")):
        return None
    return PackageName(found["entity"], int(found["number"]), found["answer"] is not None, found["ending"])


def packages_among(names: Iterable[str], entity: str, *, answers: bool = False) -> list[PackageName]:
    """The packages of an entity (or the answers to them) among these names, in the order of their numbers."""
    found = (package_name(name) for name in names)
    return sorted(one for one in found if one is not None and one.entity == entity and one.answer is answers)
