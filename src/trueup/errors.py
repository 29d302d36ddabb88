"""Every error trueup raises on purpose: what happened, where, and what to do now.

An error carries its own retry class (`remedy`), so no caller keeps a second list of which errors are worth another try.
Texts name systems, objects, columns and keys; they never carry a password, and a record's value only where the message is about that value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Remedy = Literal["retry", "stop", "ask"]
"""`retry`: the same call may succeed later; `stop`: it will not, until something is changed; `ask`: a person decides."""


_SHORTEST_SECRET = 4
_secrets: dict[str, str] = {}


def keep_secret(name: str, value: str) -> None:
    """From now on no error of this process carries this value; its name stands there. A value of three characters is no secret."""
    if len(value) >= _SHORTEST_SECRET:
        _secrets[value] = name


def forget_secret(value: str) -> None:
    """This value opens nothing any more."""
    _secrets.pop(value, None)


def veiled(text: str) -> str:
    """A text without the values of secrets, as they are or as Python would quote them; the longest are looked for first."""
    for value, name in sorted(_secrets.items(), key=lambda item: len(item[0]), reverse=True):
        for form in (value, repr(value)[1:-1]):
            text = text.replace(form, f"${{secret:{name}}}")
    return text


class TrueupError(Exception):
    """Base of all errors that users may see. `str(error)` is one line: place, what happened, and the hint."""

    remedy: Remedy = "stop"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        system: str | None = None,
        entity: str | None = None,
        key: str | None = None,
    ) -> None:
        """Keep what happened (`message`), what to do now (`hint`) and the place; None means not known or not meant."""
        message = veiled(message)
        super().__init__(message)
        self.message = message
        self.hint = veiled(hint) if hint else hint
        self.system = system
        self.entity = entity
        self.key = key

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.system, self.entity, self.key) if part)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a configuration: where (1-based line, 0 when unknown; dotted path), what, and what would be right."""

    file: str
    line: int
    path: str
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", veiled(self.message))

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = ": ".join(part for part in (place, self.path, self.message) if part)
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(TrueupError):
    """The configuration cannot be used. `problems` holds all of them, never only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep every problem, in file order; the list is never empty."""
        self.problems = sorted(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(TrueupError):
    """A command was asked for something that does not exist or cannot be combined (exit status 2)."""


class MasterKeyError(TrueupError):
    """The master key is missing, cannot be read, may be read by others, or is not the one that something was sealed under."""


PackageTrouble = Literal["half-copied", "tampered", "wrong", "missing", "repeat"]
"""`half-copied`: not all of it is there yet; `tampered`: not what its maker wrote; `wrong`: its maker's mistake; `missing`: one before it
never came; `repeat`: its number was there before."""


class PackageError(TrueupError):
    """A data package that is not taken. Nothing was touched."""

    def __init__(self, message: str, *, kind: PackageTrouble, hint: str | None = None) -> None:
        """Say what is wrong with it, and of which kind that is."""
        super().__init__(message, hint=hint)
        self.kind: PackageTrouble = kind


class StateError(TrueupError):
    """The state store cannot be opened, read or written."""


class StateMissingError(StateError):
    """There is no state yet: nothing was ever synced, or `state:` names another place."""


class StateLockedError(StateError):
    """Another process works on this state; it is named by pid and host."""

    remedy: Remedy = "retry"

    def __init__(self, pid: int, host: str) -> None:
        """Name the process that holds the state."""
        super().__init__(
            f"another trueup works on this state: process {pid} on {host}",
            hint="wait for it with --wait SECONDS, or stop it",
        )
        self.pid = pid
        self.host = host


class LeaseLostError(StateError):
    """This process was out of touch with a state that others share, and they have taken over what it did; it must begin anew."""

    remedy: Remedy = "retry"


class SystemError_(TrueupError):
    """Base of what a connector raises for a whole call; a single record's trouble is an outcome or a reject, not an error."""


class SystemUnreachableError(SystemError_):
    """The system did not answer, dropped the connection, or a file is missing or locked by another program."""

    remedy: Remedy = "retry"


class AccessRefusedError(SystemError_):
    """Wrong password, or rights are missing for this call."""


class GrantExpiredError(AccessRefusedError):
    """Access that a person gave has ended: it was revoked, or not renewed in time. A person gives it anew; nothing is tried until then."""

    remedy: Remedy = "ask"


class ObjectMissingError(SystemError_):
    """The table, sheet, file or a mapped column is not there, or has another type than before."""


class ObjectUnreadableError(SystemError_):
    """The object is there but cannot be listed as a whole: no usable key, undecodable bytes, a broken workbook."""


class ChangedUnderneathError(SystemError_):
    """A file changed between the read and the write; nothing was written. Reading again and trying again is right."""

    remedy: Remedy = "retry"


class PositionLostError(SystemError_):
    """The system has forgotten changes that it was to tell: everything there is to be looked at, and watched from now on."""

    remedy: Remedy = "retry"


class WriteRefusedError(SystemError_):
    """The whole system cannot be written: read-only file or user, disk full."""
