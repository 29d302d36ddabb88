"""`${NAME}` in the values of a configuration, taken from the environment or from a `.env` file beside it.

Only text values are looked at, never keys. `$$` stands for one `$`; a `$` that begins neither is itself. What was filled in is not
looked at again. Problems name the variable, never its value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.config.suggest import did_you_mean
from trueup.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trueup.yamlfile import YamlDocument, YamlPath

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)(\})?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.ASCII)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


@dataclass(frozen=True, slots=True)
class Environment:
    """Where `${NAME}` is looked up: the process's environment first, then the `.env` file. `searched` says so for people."""

    process: Mapping[str, str]
    dotenv: Mapping[str, str]
    searched: str
    problems: tuple[Problem, ...] = ()

    def get(self, name: str) -> str | None:
        """The value of a variable, which may be empty; None where it is set nowhere."""
        return self.process.get(name, self.dotenv.get(name))


@dataclass(slots=True)
class Substituted:
    """A document's data with variables filled in. `broken` are the paths whose text could not be filled in; `used` is name -> value.

    `unset` are the problems of systems whose variables are set nowhere: they matter only to whoever connects to the systems.
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
        return Environment(process, {}, f"searched: the environment, {path} (there is none)")
    except UnicodeDecodeError:
        problem = Problem(str(path), 0, "", "the file is not UTF-8 text", "save it with the encoding UTF-8")
        return Environment(process, {}, f"searched: the environment, {path} (not readable)", (problem,))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not readable"
        problem = Problem(str(path), 0, "", f"the file cannot be read: {reason}", "")
        return Environment(process, {}, f"searched: the environment, {path} (not readable)", (problem,))
    values, problems = parse_dotenv(text, str(path))
    return Environment(process, values, f"searched: the environment, {path}", tuple(problems))


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


def substitute(document: YamlDocument, environment: Environment) -> Substituted:
    """Fill in every `${NAME}` of the document's text values; each that cannot be filled in is a problem at its place."""
    result = Substituted(None)
    result.data = _fill(document.data, (), document, environment, result)
    return result


def _fill(value: Any, path: YamlPath, document: YamlDocument, environment: Environment, result: Substituted) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, (*path, key), document, environment, result) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, (*path, number), document, environment, result) for number, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value or _is_template(path):
        return value
    before = len(result.problems) + len(result.unset)
    filled = _REFERENCE.sub(lambda match: _replacement(match, path, document, environment, result), value)
    if len(result.problems) + len(result.unset) > before:
        result.broken.append(path)
    return filled


def _is_template(path: YamlPath) -> bool:
    """Whether `${…}` at this path means something else: the parts of an incoming message whose signature is checked."""
    return path[:1] == ("systems",) and path[2:] == ("webhook", "verify", "message")


def _replacement(match: re.Match[str], path: YamlPath, document: YamlDocument, environment: Environment, result: Substituted) -> str:
    if match.group() == "$$":
        return "$"
    name, closed = match.group(1), match.group(2)
    wrong = result.problems
    escape = "for `${` itself write `$${`"
    if not closed:
        wrong.append(document.problem(path, "`${` is never closed", f"write ${{NAME}}; {escape}"))
    elif name.startswith("secret:"):
        message = f"`${{{name}}}`: stored secrets cannot be used here yet"
        wrong.append(document.problem(path, message, "put the value into the environment or .env and write ${NAME}"))
    elif not _NAME.fullmatch(name):
        message = f"`${{{name}}}` is not the name of an environment variable"
        wrong.append(document.problem(path, message, f"write ${{NAME}} with letters, digits and _; {escape}"))
    else:
        found = environment.get(name)
        if found is not None:
            result.used[name] = found
            return found
        # Only the .env file's own names are suggested: those of the whole environment are not this project's business.
        hint = f"set it or add it to .env; {environment.searched}{did_you_mean(name, environment.dotenv, lead='; ')}"
        of_a_system = path[:1] == ("systems",)
        (result.unset if of_a_system else wrong).append(document.problem(path, f"the environment variable `{name}` is not set", hint))
    return match.group()
