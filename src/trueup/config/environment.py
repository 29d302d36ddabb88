"""`${NAME}` in the values of a configuration, taken from the environment or from a `.env` file beside it, and `${secret:NAME}`.

Only text values are looked at, never keys. `$$` stands for one `$`; a `$` that begins neither is itself. What was filled in is not
looked at again. Problems name the variable, never its value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.config.suggest import did_you_mean
from trueup.errors import ConfigError, Problem, TrueupError, keep_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trueup.yamlfile import YamlDocument, YamlPath

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)(\})?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
SECRET = "secret:"  # noqa: S105 - what a reference to one begins with
TOKENS = "connect."
"""Secrets with such a name are tokens, which nobody writes (`store.credential.PREFIX`)."""
SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", re.ASCII)
OPENS_STATE = {("state",), ("master_key",)}
"""Settings that are needed before any secret can be read."""
OF_OTHERS = {("systems",), ("notices",)}
"""Settings that say how others are reached: who does not, needs no secret of theirs."""
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.ASCII)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


@dataclass(frozen=True, slots=True)
class Environment:
    """Where `${NAME}` is looked up: the process's environment first, then the `.env` file. `searched` says so for people."""

    process: Mapping[str, str]
    dotenv: Mapping[str, str]
    searched: str
    file: str = ""
    problems: tuple[Problem, ...] = ()

    def get(self, name: str) -> str | None:
        """The value of a variable, which may be empty; None where it is set nowhere."""
        return self.process.get(name, self.dotenv.get(name))


@dataclass(slots=True)
class Substituted:
    """A document's data with variables filled in. `broken` are the paths whose text could not be filled in; `used` is name -> value.

    `unset` are the problems of systems and subscriptions whose variables are set nowhere: they matter only to whoever connects to them.
    """

    data: Any
    used: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unset: list[Problem] = field(default_factory=list)
    broken: list[YamlPath] = field(default_factory=list)


def open_environment(directory: Path, process: Mapping[str, str]) -> Environment:
    """The variables for a configuration in `directory`; a missing `.env` is nothing wrong, an unreadable one is a problem."""
    path = directory / ".env"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return Environment(process, {}, f"searched: the environment, {path} (there is none)", str(path))
    except UnicodeDecodeError:
        problem = Problem(str(path), 0, "", "the file is not UTF-8 text", "save it with the encoding UTF-8")
        return Environment(process, {}, f"searched: the environment, {path} (not readable)", str(path), (problem,))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not readable"
        problem = Problem(str(path), 0, "", f"the file cannot be read: {reason}", "")
        return Environment(process, {}, f"searched: the environment, {path} (not readable)", str(path), (problem,))
    values, problems = parse_dotenv(text, str(path))
    return Environment(process, values, f"searched: the environment, {path}", str(path), tuple(problems))


def parse_dotenv(text: str, file: str) -> tuple[dict[str, str], list[Problem]]:
    r"""`NAME=value` per line, with `export ` before it allowed; the last one of a name counts.

    `#` begins a comment at the start of a line, and after a blank in an unquoted value. 'Single' quotes keep all as it is; "double"
    quotes know \n, \r, \t, \", \\ and \$. A value never reaches over several lines.
    """
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _dotenv_value(match.group(2)) if match else None
        if match is None or value is None:
            # The line is not shown: it may hold a secret.
            what = "the quoted value does not end" if match else "this line is not NAME=value"
            problems.append(Problem(file, number, "", what, 'write NAME=value or NAME="value", one per line'))
            continue
        values[match.group(1)] = value
    return values, problems


def _dotenv_value(written: str) -> str | None:
    """The value of the text after `=`; None where a quote is not closed or is followed by something else than a comment."""
    if written[:1] == "'":
        body, closing, rest = written[1:].partition("'")
        return body if closing and _is_comment(rest) else None
    if written[:1] == '"':
        return _double_quoted(written)
    return re.split(r"(?:^|\s)#", written, maxsplit=1)[0].strip()


def _double_quoted(written: str) -> str | None:
    body: list[str] = []
    position = 1
    while position < len(written):
        char = written[position]
        if char == '"':
            return "".join(body) if _is_comment(written[position + 1 :]) else None
        if char == "\\" and position + 1 < len(written):
            following = written[position + 1]
            body.append(_ESCAPES.get(following, "\\" + following))
            position += 2
            continue
        body.append(char)
        position += 1
    return None


def _is_comment(rest: str) -> bool:
    return not rest.strip() or rest.lstrip().startswith("#")


def substitute(document: YamlDocument, environment: Environment, secret: Callable[[str], str | None] | None = None) -> Substituted:
    """Fill in every `${NAME}` of the document's text values; each that cannot be filled in is a problem at its place.

    `secret` gives the value of a stored secret, and None for one that is not there; it may raise TrueupError. Without it every secret is
    one that is not there.
    """
    filling = _Filling(document, environment, secret, Substituted(None))
    filling.result.data = filling.fill(document.data, ())
    return filling.result


def secrets_used(document: YamlDocument) -> dict[str, list[YamlPath]]:
    """The stored secrets that a configuration names, each with its places."""
    found: dict[str, list[YamlPath]] = {}

    def search(value: Any, path: YamlPath) -> None:
        if isinstance(value, (dict, list)):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                search(item, (*path, key))
        elif isinstance(value, str) and not _is_template(path):
            for match in _REFERENCE.finditer(value):
                if match.group() != "$$" and match.group(1).startswith(SECRET):
                    found.setdefault(match.group(1).removeprefix(SECRET), []).append(path)

    search(document.data, ())
    return found


def _is_template(path: YamlPath) -> bool:
    """Whether `${…}` at this path means something else: the parts of an incoming message whose signature is checked."""
    return path[:1] == ("systems",) and path[2:] == ("webhook", "verify", "message")


class _NotFilledError(Exception):
    """A reference that nothing stands for. `unset` is one that only those need who connect; without a message it was told before."""

    def __init__(self, message: str = "", hint: str = "", *, unset: bool = False) -> None:
        """Keep what is said of it."""
        super().__init__(message)
        self.message, self.hint, self.unset = message, hint, unset


@dataclass(slots=True)
class _Filling:
    """One document being filled in."""

    document: YamlDocument
    environment: Environment
    secret: Callable[[str], str | None] | None
    result: Substituted
    refused: bool = False  # the secrets cannot be had at all, which is said once

    def fill(self, value: Any, path: YamlPath) -> Any:
        """The value with every reference in it filled in."""
        if isinstance(value, dict):
            return {key: self.fill(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, (*path, number)) for number, item in enumerate(value)]
        if not isinstance(value, str) or "$" not in value or _is_template(path):
            return value
        before = len(self.result.broken)
        filled = _REFERENCE.sub(lambda match: self._replacement(match, path), value)
        return value if len(self.result.broken) > before else filled

    def _replacement(self, match: re.Match[str], path: YamlPath) -> str:
        """What stands for a reference. Where nothing can, that is a problem, and the text is broken."""
        try:
            return self._found(match, path)
        except _NotFilledError as missing:
            self.result.broken.append(path)
            if missing.message:
                later = missing.unset and path[:1] in OF_OTHERS
                problem = self.document.problem(path, missing.message, missing.hint)
                (self.result.unset if later else self.result.problems).append(problem)
            return ""

    def _found(self, match: re.Match[str], path: YamlPath) -> str:
        if match.group() == "$$":
            return "$"
        name, closed = match.group(1), match.group(2)
        escape = "for `${` itself write `$${`"
        if not closed:
            raise _NotFilledError("`${` is never closed", f"write ${{NAME}}; {escape}")
        if name.startswith(SECRET):
            return self._secret(name.removeprefix(SECRET), path)
        if not _NAME.fullmatch(name):
            message = f"`${{{name}}}` is not the name of an environment variable"
            raise _NotFilledError(message, f"write ${{NAME}} with letters, digits and _; {escape}")
        found = self.environment.get(name)
        if found is None:
            # Only the .env file's own names are suggested: those of the whole environment are not this project's business.
            meant = did_you_mean(name, self.environment.dotenv, lead="; ")
            hint = f"set it or add it to .env; {self.environment.searched}{meant}"
            raise _NotFilledError(f"the environment variable `{name}` is not set", hint, unset=True)
        self.result.used[name] = found
        return found

    def _secret(self, name: str, path: YamlPath) -> str:
        if path[:1] in OPENS_STATE:
            message = f"`${{secret:{name}}}`: secrets are kept in the state, and what opens the state cannot be one of them"
            raise _NotFilledError(message, "put the value into the environment or .env and write ${NAME}")
        if path[:1] == ("entities",):
            message = f"`${{secret:{name}}}`: a secret cannot be part of what records hold, which is kept and shown as it is"
            raise _NotFilledError(message, "secrets belong to the settings of systems")
        if not SECRET_NAME.fullmatch(name):
            raise _NotFilledError(f"`{name}` cannot name a secret", "write ${secret:NAME} with letters, digits, _, - and .")
        if name.startswith(TOKENS):
            message = f"`${{secret:{name}}}` is a token that trueup renews, and cannot be written anywhere"
            raise _NotFilledError(message, "say `oauth2:` in the settings of the system, and run `trueup connect`")
        if self.refused:
            raise _NotFilledError
        try:
            found = self.secret(name) if self.secret is not None else None
        except ConfigError:  # what is wrong with `state` or `master_key` is told at its own place
            self.refused = True
            raise _NotFilledError from None
        except TrueupError as error:
            self.refused = True
            raise _NotFilledError(f"the secret `{name}` cannot be had: {error.message}", error.hint or "") from None
        if found is None:
            raise _NotFilledError(f"the secret `{name}` is not set", f"run `trueup secrets set {name}`", unset=True)
        keep_secret(name, found)
        self.result.used[f"{SECRET}{name}"] = found
        return found
