"""Whether the places of packages can be used, without putting anything there."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trueup.errors import TrueupError
from trueup.exchange.places import open_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.model import Config, Package


@dataclass(frozen=True, slots=True)
class Unusable:
    """A place that cannot be used: of which packages, by which setting of theirs, and why."""

    packages: str
    setting: str
    error: TrueupError


def unusable(config: Config) -> list[Unusable]:
    """The places of the configuration that cannot be used; each is looked at once. Raises nothing for what it finds."""
    found: list[Unusable] = []
    seen: dict[tuple[str, bool], TrueupError | None] = {}
    for one in config.packages.values():
        for setting, address, writes in _places(one):
            if (address, writes) not in seen:
                seen[address, writes] = _examined(address, config.directory, writes=writes)
            error = seen[address, writes]
            if error is not None:
                found.append(Unusable(one.name, setting, error))
    return found


def _places(package: Package) -> Iterator[tuple[str, str, bool]]:
    """The places that packages use: under which setting, which, and whether anything is put there."""
    ours, answers_here = ("to", False) if package.direction == "out" else ("from", True)
    puts = not answers_here or package.answers is None
    yield ours, package.place, puts
    if package.answers is not None:
        yield "answers", package.answers, answers_here


def _examined(address: str, directory: str, *, writes: bool) -> TrueupError | None:
    try:
        with closing(open_place(address, directory)) as place:
            place.examine(writes=writes)
    except TrueupError as error:
        return error
    return None
