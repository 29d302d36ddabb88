"""Pages that are also programs: their marked blocks run in order in one folder, and what they print is what the page says.

    ```yaml file=trueup.yaml      the block is written to that file
    ```console run                lines that begin with `$ ` run in a shell; what follows is what they print

A command that ends with another exit status than 0 has a last line `(exit status N)`. A command after which nothing else is shown may print
anything. Times, durations, hashes, users with their processes, and the width of gaps may differ. `<!-- a new folder -->` starts again in an
empty one, `<!-- servers: NAME… -->` starts servers of others for the page (`page_servers.py`). Ports from 8460 to 8479 stand for free ones,
so that pages run beside each other; processes whose number is in a file `*.pid` end with the page.

`python -m tests.docs.pages PAGE…` runs pages and writes what they print now into them, `--show PAGE…` shows them at work (`make example`).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.page_servers import servers
from tests.servers import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
NEW_FOLDER = "<!-- a new folder -->"
STATUS = "(exit status "
LIMIT_S = 60
PORT = re.compile(r"(?<![\d.])84[67]\d(?!\d)")

SQLITE = """#!{python}
import signal, sqlite3, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads may have seen enough
with sqlite3.connect(sys.argv[1], isolation_level=None) as database:
    for row in database.execute(sys.argv[2]):
        print("|".join("" if value is None else str(value) for value in row))
"""
"""Stands for the program `sqlite3`, which is not installed everywhere: a file, a statement, values between bars."""

PSQL = """#!{python}
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    found = connection.execute(sys.argv[3])
    for row in found.fetchall() if found.description else ():
        print("|".join("" if value is None else str(value) for value in row))
"""
"""Stands for the program `psql -Atc`."""

_VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\d( at |T| )\d\d:\d\d(:\d\d)?(\.\d+)?Z?"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)? m?s\b"), "<duration>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"\b[0-9a-f]{12}…"), "<hash>…"),
    (re.compile(r"\S+@\S+ \(\d+\)"), "<user>"),
    (re.compile(r"a person \(\S+@[^\s)]+\)"), "a person (<user>)"),
    (re.compile(r"[ ─]{2,}"), "  "),
)


@dataclass
class Command:
    """One `$ ` line: where it stands, and the lines after it up to the next one."""

    line: int
    text: str
    shown: list[str] = field(default_factory=list)


@dataclass
class Block:
    """One marked block: its first line of content (0-based), its content, and the file to write; None: commands to run."""

    start: int
    lines: list[str]
    file: str | None

    def commands(self) -> list[Command]:
        """The commands of a console block."""
        found: list[Command] = []
        for number, line in enumerate(self.lines, start=self.start):
            if line.startswith("$ "):
                found.append(Command(number, line.removeprefix("$ ")))
            elif found:
                found[-1].shown.append(line)
        return found


def blocks(text: str) -> Iterator[Block | None]:
    """The marked blocks of a page, in order; None where it starts again in an empty folder."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        if lines[number].strip() == NEW_FOLDER:
            yield None
        opened = re.fullmatch(r"```(\w*) ?(.*)", lines[number])
        if opened:
            end = lines.index("```", number + 1)
            mark = opened[2].strip()
            if mark == "run" or mark.startswith("file="):
                yield Block(number + 1, lines[number + 1 : end], mark.removeprefix("file=") if mark != "run" else None)
            elif mark:
                raise ValueError(f"line {number + 1}: {mark!r} is neither `run` nor `file=NAME`")
            number = end
        number += 1


def is_runnable(page: Path) -> bool:
    """Whether the page has a marked block."""
    return any(block is not None for block in blocks(page.read_text(encoding="utf-8")))


def settled(lines: list[str]) -> list[str]:
    """Printed lines without what differs from run to run."""
    kept = []
    for line in lines:
        text = line.rstrip()
        for pattern, word in _VOLATILE:
            text = pattern.sub(word, text)
        kept.append(text)
    while kept and not kept[-1]:
        kept.pop()
    return kept


class Player:
    """Runs the blocks of one page."""

    def __init__(self, page: Path, folder: Path) -> None:
        """Prepare the programs; an example's page runs beside a copy of the example's files."""
        self.page = page
        self.folder = folder
        self._number = 0
        self._ports: dict[str, str] = {}
        programs = folder / "bin"
        programs.mkdir()
        _program(programs / "trueup", f'#!/bin/bash\nexec {sys.executable} -m trueup "$@"\n')
        _program(programs / "python3", f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        _program(programs / "sqlite3", SQLITE.format(python=sys.executable))
        _program(programs / "psql", PSQL.format(python=sys.executable))
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT / "src")),
            "NO_COLOR": "1",
        }
        self.place = self._fresh()

    def _fresh(self) -> Path:
        self._number += 1
        place = self.folder / f"work{self._number}"
        if self.page.parent.parent.name == "examples":
            shutil.copytree(self.page.parent, place, ignore=shutil.ignore_patterns("__pycache__", ".trueup"))
            for file in place.glob("*.*"):
                file.write_bytes(
                    self._with_free_ports(file.read_bytes().decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
                )
        else:
            place.mkdir()
        return place

    def _with_free_ports(self, text: str) -> str:
        return PORT.sub(lambda said: self._ports.setdefault(said[0], str(free_port())), text)

    def _as_said(self, line: str) -> str:
        """What was printed, with the ports of the page."""
        for said, port in self._ports.items():
            line = re.sub(rf"(?<!\d){port}(?!\d)", said, line)
        return line

    def run(self, command: Command) -> list[str]:
        """Run one command; returns what it printed, with its exit status where that is not 0."""
        words = ["bash", "-c", self._with_free_ports(command.text)]
        done = subprocess.run(words, cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        printed = [self._as_said(line.rstrip()) for line in (done.stdout + done.stderr).rstrip("\n").splitlines()]
        return [*printed, f"{STATUS}{done.returncode})"] if done.returncode else printed

    def play(self) -> Iterator[tuple[Command, list[str]]]:
        """Every command of the page with what it printed."""
        text = self.page.read_text(encoding="utf-8")
        with servers(text) as told:
            self.environment |= told
            yield from self._play(text)

    def _play(self, text: str) -> Iterator[tuple[Command, list[str]]]:
        try:
            for block in blocks(text):
                if block is None:
                    self.place = self._fresh()
                elif block.file is not None:
                    target = self.place / block.file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(self._with_free_ports("\n".join([*block.lines, ""])), encoding="utf-8")
                else:
                    for command in block.commands():
                        yield command, self.run(command)
        finally:
            self._end_processes()

    def _end_processes(self) -> None:
        """Those that the page began and did not end, because a step of it went wrong."""
        for file in self.folder.glob("work*/*.pid"):
            number = int(file.read_text(encoding="utf-8"))
            with suppress(OSError):
                if Path(f"/proc/{number}/cwd").readlink() == file.parent:
                    os.kill(number, signal.SIGKILL)


def _status(lines: list[str]) -> list[str]:
    """The line with the exit status, where there is one."""
    return [line for line in lines[-1:] if line.startswith(STATUS)]


def _shows_output(said: list[str]) -> bool:
    return bool(said) and said != _status(said)


def _program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def differences(page: Path, folder: Path) -> list[str]:
    """Where a page says something else than what happens: one text per command."""
    found = []
    for command, printed in Player(page, folder).play():
        said, happened = settled(command.shown), settled(printed)
        if said != (happened if _shows_output(said) else _status(happened)):
            shown = "\n".join(printed)
            found.append(f"{page.relative_to(ROOT)}:{command.line + 1}: $ {command.text}\nprints\n{shown}\n")
    return found


def update(page: Path) -> None:
    """Write into the page what its commands print now; those after which nothing is shown stay so."""
    lines = page.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        played = list(Player(page, Path(folder)).play())
    for command, printed in reversed(played):
        if settled(command.shown) == settled(printed):
            continue  # so that a time alone changes no page
        gap = [""] if command.shown[-1:] == [""] else []
        kept = printed if _shows_output(settled(command.shown)) else _status(printed)
        lines[command.line + 1 : command.line + 1 + len(command.shown)] = [*kept, *gap]
    page.write_text("\n".join([*lines, ""]), encoding="utf-8")


def show(page: Path) -> bool:
    """Run a page before somebody's eyes; whether everything was as it says."""
    sys.stdout.write(f"{page.relative_to(ROOT)}, in a folder of its own\n\n")
    right = True
    with tempfile.TemporaryDirectory() as folder:
        for command, printed in Player(page, Path(folder)).play():
            sys.stdout.write("\n".join([f"$ {command.text}", *printed, "\n"]))
            sys.stdout.flush()
            right &= _status(printed) == _status(settled(command.shown))
    return right


def main(words: list[str]) -> int:
    """What the command line asks for; 1 where a page that is shown went wrong."""
    if words[:1] != ["--show"]:
        for name in words:
            update(Path(name).resolve())
        return 0
    right = [show(Path(name).resolve()) for name in words[1:]]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
