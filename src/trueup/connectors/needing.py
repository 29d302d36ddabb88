"""What a mapping needs to be allowed to do in a system, and whether the login of a connector may do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.model import ObjectSpec


@dataclass(frozen=True, slots=True)
class Need:
    """What is done with one object. `reads`: native columns; `sets`: those changed in rows that are there; `makes`: those of new rows.

    Empty `makes`: no row is made.
    """

    obj: ObjectSpec
    reads: tuple[str, ...]
    sets: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that has to be allowed, on `place`. `given` None: nobody can tell; `without`: what fails; `remedy`: who is to do what."""

    right: str
    place: str
    without: str
    given: bool | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Permissions:
    """All of them; `beyond` is what is allowed and not needed, in words."""

    needed: tuple[Permission, ...] = ()
    beyond: tuple[str, ...] = ()


@runtime_checkable
class KnowsPermissions(Protocol):
    """A connector that can say what its login may do."""

    def permissions(self, needs: Sequence[Need]) -> Permissions:
        """What is needed for this, and given. Raises as `describe`."""
        ...


@runtime_checkable
class KnowsScopes(Protocol):
    """A connector to an application that gives access by scopes."""

    def scopes(self, needs: Sequence[Need]) -> Permissions:
        """The scopes that are needed for this; nobody knows yet which are given."""
        ...
