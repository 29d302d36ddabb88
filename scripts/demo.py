"""`make demo`: a small company appears in ./demo, drifted apart, and is brought into agreement while you watch.

Every line that begins with `$` is a real command with its real output. What is left behind is a working project to play with. A demo that
was edited is not replaced without asking; without a terminal, only with --force.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import demo_company as company  # noqa: E402 -- found through the line above when run as a program

MANIFEST = ".demo.json"
OWN_STATE = ".trueup"
AGAIN = ".venv/bin/python scripts/demo.py"
DONE, NEEDS_PERSON = 0, 3
MEANING = {NEEDS_PERSON: "done, but something needs a person"}


class DemoError(Exception):
    """The demo cannot go on; the text says why, and what to do."""


# --- the folder -------------------------------------------------------------------------------------------------------------------------


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, but for trueup's own state and the manifest."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if name != MANIFEST and not name.startswith(f"{OWN_STATE}/")
    }


def remember(folder: Path) -> None:
    """Write the manifest: what the demo itself left here."""
    (folder / MANIFEST).write_text(json.dumps(hashes(folder), indent=2) + "\n", encoding="utf-8")


def edited(folder: Path) -> list[str]:
    """Names of files that a person changed, added or removed since the demo wrote its manifest. Raises DemoError where there is none."""
    try:
        known: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise DemoError(f"{folder} was not made by this demo: move it away, or name another folder with --into") from error
    now = hashes(folder)
    return sorted(name for name in known.keys() | now.keys() if known.get(name) != now.get(name))


def clear(folder: Path, *, force: bool) -> None:
    """Make room for a new demo. Raises DemoError where an edited one is not given up."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DemoError(f"{folder} is no folder of its own: move it away, or name another folder with --into")
    if not folder.exists() or not any(folder.iterdir()):
        return
    changes = edited(folder)
    if changes and not force and not _gives_up(folder, changes):
        raise DemoError(
            f"{folder} was edited ({', '.join(changes)}) and is left as it is; `{AGAIN} --force` replaces it, `--into FOLDER` spares it"
        )
    shutil.rmtree(folder)


def _gives_up(folder: Path, changes: list[str]) -> bool:
    """Ask at a terminal whether edits may go; elsewhere nobody can say yes."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    answer = input(f"{folder} was edited ({', '.join(changes)}). Replace it? [y/N] ")
    return answer.strip().lower() in {"y", "yes"}


# --- the story --------------------------------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """Where the demo plays, and how it speaks."""

    folder: Path
    number: int = field(default=0)

    def step(self, shows: str) -> None:
        """Begin a step with one line that says what it shows."""
        self.number += 1
        print(f"\n{_bold(f'{self.number}. {shows}')}", flush=True)

    def trueup(self, *words: str, expected: int = DONE) -> None:
        """Run a command as a user would. Raises DemoError where it ends otherwise than it must here."""
        print(f"\n$ {shlex.join(['trueup', *words])}", flush=True)
        done = subprocess.run([sys.executable, "-m", "trueup", *words], cwd=self.folder, check=False)
        if done.returncode != expected:
            raise DemoError(f"`trueup {words[0]}` ended with exit status {done.returncode}, here it should be {expected}")
        if done.returncode:
            print(f"(exit status {done.returncode}: {MEANING[done.returncode]})", flush=True)
        remember(self.folder)

    def sql(self, file: str, statement: str) -> None:
        """Somebody edits a database."""
        print(f"  {file}: {statement}", flush=True)
        company.change_row(self.folder / file, statement)
        remember(self.folder)

    def text(self, file: str, before: str, after: str) -> None:
        """Somebody edits a text file."""
        print(f"  {file}: {before} becomes {after}", flush=True)
        company.change_text(self.folder / file, before, after)
        remember(self.folder)

    def customer(self, email: str) -> None:
        """Show a customer as each file holds it."""
        _show(email, company.customer_everywhere(self.folder, email))

    def product(self, sku: str) -> None:
        """Show a product as each file holds it."""
        _show(sku, company.product_everywhere(self.folder, sku))


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def _show(title: str, held: Mapping[str, tuple[object, ...]]) -> None:
    print(f"  {title}")
    for file, values in held.items():
        print(f"    {file:<13}  {' | '.join('' if value is None else str(value) for value in values)}", flush=True)


def play(stage: Stage) -> None:
    """The whole demo in a folder that holds the company's files."""
    stage.step("The company: the same customer and the same product, as five files hold them.")
    stage.customer("dan@example.org")
    stage.product("P-104")

    stage.step("How far have they drifted apart? Only reads: nothing is written anywhere.")
    stage.trueup("drift")
    stage.step("Does the configuration fit what is really there? Sample rows, read through the mappings.")
    stage.trueup("check")
    stage.step("What would a sync do? Every change, field by field, before anything is done.")
    stage.trueup("plan")
    stage.step("Do it. What cannot be decided is kept for a person and stops nothing else.")
    stage.trueup("sync", expected=NEEDS_PERSON)
    stage.step(
        "They agree: Cora's new address, Dan's new number, and a product that was known in one place; read from the files themselves."
    )
    for email in ("cora@example.org", "dan@example.org"):
        stage.customer(email)
    stage.product("P-106")

    _two_at_once(stage)
    _for_a_person(stage)

    stage.step("Proof: every system is compared with what was agreed, row by row where sums differ.")
    stage.trueup("verify")
    stage.step("Nothing is left to do: another sync finds and writes nothing.")
    stage.trueup("sync")


def _two_at_once(stage: Stage) -> None:
    stage.step(
        "Two systems are edited at once: other fields of one customer, one product sold at two tills, and a name that is not theirs."
    )
    stage.sql("crm.db", "UPDATE contacts SET address = '22 New Road' WHERE email = 'ben@example.org'")
    stage.text("customers.csv", "01632960102", "01632 960199")
    stage.text("customers.csv", "Cora Placeholder", "Cora Plaiceholder")
    stage.sql("till.db", "UPDATE articles SET on_hand = on_hand - 3 WHERE sku = 'P-101'")
    stage.sql("market.db", "UPDATE goods SET on_hand = on_hand - 2 WHERE code = 'P-101'")
    stage.trueup("sync", expected=NEEDS_PERSON)
    stage.step("Both edits of Ben arrived everywhere, 40 - 3 - 2 = 35 hammers are left, and the CRM's spelling of Cora stands.")
    for email in ("ben@example.org", "cora@example.org"):
        stage.customer(email)
    stage.product("P-101")
    stage.step("Why is Cora's name what it is?")
    stage.trueup("explain", "customer", "crm:3", "name")


def _for_a_person(stage: Stage) -> None:
    stage.step("Two prices for the hand saw: a person decides, here for the stock list.")
    stage.trueup("conflicts")
    stage.trueup("conflicts", "resolve", "1", "--take", "stock")
    stage.step("A customer typed in twice: the second row is left alone until a person says what it is.")
    stage.trueup("matches")
    stage.step("A row that could not be used: it is mended where it is wrong.")
    stage.trueup("failures")
    stage.text("customers.csv", "kim at example.org", "kim@example.org")
    stage.step("One more sync brings the price and the mended row to everyone.")
    stage.trueup("sync")
    stage.customer("kim@example.org")
    stage.product("P-104")


def main() -> None:
    """Make the folder, play the story, say what is left behind."""
    parser = argparse.ArgumentParser(description="Bring a small company that has drifted apart into agreement.")
    parser.add_argument("--into", type=Path, default=ROOT / "demo", metavar="FOLDER", help="where (default: ./demo of this project)")
    parser.add_argument("--bare", action="store_true", help="only make the company, and leave its systems drifted apart")
    parser.add_argument("--force", action="store_true", help="replace a demo that was edited")
    options = parser.parse_args()
    folder = options.into.absolute()
    try:
        clear(folder, force=options.force)
        folder.mkdir(parents=True, exist_ok=True)
        remember(folder)
        company.make_company(folder)
        shutil.copyfile(ROOT / "scripts" / "demo_trueup.yaml", folder / "trueup.yaml")
        remember(folder)
        if not options.bare:
            play(Stage(folder))
    except DemoError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    _say_goodbye(folder)


def _say_goodbye(folder: Path) -> None:
    inside = folder.is_relative_to(Path.cwd())
    shown = os.path.relpath(folder) if inside else str(folder)
    program = Path(sys.executable).with_name("trueup")
    program_shown = os.path.relpath(program, folder) if inside else str(program)
    print(f"\n{_bold(f'This company is yours now: {shown}')}")
    print("Edit any of its files or trueup.yaml, and then")
    print(f"  cd {shlex.quote(shown)}")
    print(f"  {shlex.quote(program_shown)} plan")
    print(f"  {shlex.quote(program_shown)} sync")


if __name__ == "__main__":
    main()
