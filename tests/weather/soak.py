"""`trueup serve` in bad weather: servers and processes die, networks fail, people go on editing; at the end all agrees and no edit is lost.

python -m tests.weather.soak --seconds 1800 --seed 1
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import orjson

from tests.servers import MariadbServer, PostgresServer, start_mariadb, start_postgres
from tests.weather.company import KEYS, Company
from tests.weather.evidence import Diary, evidence
from tests.weather.proxy import Proxy, Weather

CUSTOMERS = 60
CHANGES = 6
"""So often the weather changes at least, however short the time and slow the machine."""
IN_PEACE = 0.8
"""So often the weather does not change before the server has done something since it last did."""
AT_WORK_S = 30.0
SETTLED_S = 240.0
"""So long everything may take to agree, once the weather is fair and nobody edits."""


class Soak:
    """One company, its servers, and `trueup serve`."""

    def __init__(self, stack: ExitStack, folder: Path, seed: int) -> None:
        """Set everything up, and synchronise once."""
        self.random = Random(seed)
        self.folder = folder
        self.weather: Counter[str] = Counter()
        self.diary = Diary()
        self.postgres: PostgresServer = start_postgres()
        stack.callback(self.postgres.stop)
        self.mariadb: MariadbServer = start_mariadb()
        stack.callback(self.mariadb.stop)
        crm, shop = (stack.enter_context(server.database()) for server in (self.postgres, self.mariadb))
        self.proxies = {"crm": stack.enter_context(Proxy(self.postgres.port)), "shop": stack.enter_context(Proxy(self.mariadb.port))}
        self.company = Company(folder, crm, shop)
        self.company.set_up(CUSTOMERS, crm=self.proxies["crm"].through(crm), shop=self.proxies["shop"].through(shop))
        self.trueup("sync")
        self.process: subprocess.Popen[bytes] | None = None
        stack.callback(self.end)

    def trueup(self, *words: str) -> str:
        """Run a command to its end; what it printed. Raises AssertionError with what it said unless it ended well."""
        done = subprocess.run([sys.executable, "-m", "trueup", *words], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"trueup {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def serve(self) -> None:
        """Start the server, as whoever looks after it would."""
        with (self.folder / "serve.log").open("ab") as log:
            command = [sys.executable, "-m", "trueup", "serve", "--port", "0"]
            self.process = subprocess.Popen(command, cwd=self.folder, stderr=log, env=dict(os.environ))

    def end(self) -> int | None:
        """End the server in peace; its exit status."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def told(self) -> list[dict[str, Any]]:
        """The server's log, of all its lives."""
        lines = (self.folder / "serve.log").read_bytes().splitlines()
        return [orjson.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]

    def answer(self) -> None:
        """Whoever is asked says what the ledgers say: the engine asks where nobody can tell whether a count had arrived before another.

        The ledgers hold everything. What trueup has not seen yet it would count on top of such an answer, and rightly: so nobody answers
        before trueup knows what all systems hold.
        """
        said = self.company.said()
        for conflict in orjson.loads(self.trueup("conflicts", "--json")):
            view = orjson.loads(self.trueup("record", "customer", str(conflict["record"]), "--json"))
            email = view["golden"]["email"]
            held = {system: self.company.rows(system).get(email) for system in KEYS}
            seen = {system: _row(holding) for system, holding in view["systems"].items()}
            asked = f"question {conflict['id']} about {conflict['field']} of {email}: {conflict['candidates']}"
            if seen != held:
                self.did("questions put off", f"{asked}; systems hold {held}, and trueup has seen {seen}")
                continue
            value = dict(zip(("name", "points"), said[email], strict=True))[conflict["field"]]
            self.trueup("conflicts", "resolve", str(conflict["id"]), "--value", str(value))
            self.did("questions answered", f"{asked}; the answer is {value}")

    def did(self, what: str, more: str = "") -> None:
        """Count something that was done, and note when, and what `more` there is to say."""
        self.weather[what] += 1
        self.diary.note(f"{what}: {more}" if more else what)

    # ---------------------------------------------------------------- the weather

    def change_weather(self) -> None:
        """One thing goes wrong for a while, sometimes two."""
        bad = [self._killed, self._frozen, self._postgres_dies, self._mariadb_dies, self._network, self._network, self._network]
        for change in self.random.sample(bad, self.random.choice((1, 1, 2))):
            change()

    def _killed(self) -> None:
        self.did("serve killed")
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        time.sleep(self.random.random() * 2)
        self.serve()

    def _frozen(self) -> None:
        self.did("serve frozen")
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(1, 8))
        self.process.send_signal(signal.SIGCONT)
        self.diary.note("serve goes on")

    def _postgres_dies(self) -> None:
        self.did("PostgreSQL killed")
        self.postgres.kill()
        time.sleep(self.random.uniform(0, 4))
        self.postgres.start()
        self.diary.note("PostgreSQL is there")

    def _mariadb_dies(self) -> None:
        self.did("MariaDB killed")
        self.mariadb.kill()
        time.sleep(self.random.uniform(0, 4))
        self.mariadb.start()
        self.diary.note("MariaDB is there")

    def _network(self) -> None:
        system = self.random.choice(sorted(self.proxies))
        kinds: tuple[Weather, ...] = ("cut", "slow", "black hole", "no answers")
        how = self.random.choice(kinds)
        self.did(f"{system}: {how}")
        self.proxies[system].turn(how)
        time.sleep(self.random.uniform(1, 8))
        self.proxies[system].turn("fair")
        self.diary.note(f"{system}: fair")

    # ---------------------------------------------------------------- all of it

    def play(self, seconds: float, editors: int = 3) -> None:
        """Edit in bad weather, then look whether all agrees. Raises AssertionError."""
        ended = threading.Event()
        self.serve()
        people = [
            threading.Thread(target=self.company.busy, args=(ended, Random(self.random.random()), 0.2), daemon=True) for _ in range(editors)
        ]
        for one in people:
            one.start()
        until_s = time.monotonic() + seconds
        changes = 0
        while time.monotonic() < until_s or changes < CHANGES:
            changes += 1
            passes = self.passes()
            time.sleep(self.random.uniform(1, 6))
            if self.random.random() < IN_PEACE:
                self.wait_for_work(passes)
            self.change_weather()
            assert self.process is not None
            assert self.process.poll() is None, f"serve ended by itself: {self.folder / 'serve.log'}"
        ended.set()
        for one in people:
            one.join()
        self.diary.note("nobody edits any more")
        self.settle()

    def passes(self) -> int:
        """How many passes and lanes moved something so far."""
        told = (self.folder / "serve.log").read_bytes()
        return told.count(b'"event":"pass"') + told.count(b'"event":"delivered late"')

    def wait_for_work(self, passes: int) -> None:
        """Until the server has done more than it had: on a slow machine it would else be killed, frozen and cut off all the time."""
        until_s = time.monotonic() + AT_WORK_S
        while self.passes() == passes and time.monotonic() < until_s:
            time.sleep(0.2)

    def settle(self) -> None:
        """Wait until everything agrees; end the server, and let `verify` say so, too."""
        began = time.monotonic()
        while wrong := self.company.wrong():
            assert time.monotonic() - began < SETTLED_S, self.explained("it does not come to agree", wrong)
            time.sleep(5)
            self.answer()
        self.weather["seconds until all agreed"] = round(time.monotonic() - began)
        assert self.end() == 0, "serve did not end in peace"
        wrong = self.company.wrong()
        assert not wrong, self.explained("it agreed, and then no more", wrong)
        self.trueup("verify")
        defects = [event for event in self.told() if event["event"] == "defect"]
        assert not defects, defects[:3]

    def explained(self, problem: str, wrong: dict[str, list[str]]) -> str:
        """What is wrong, and everything that may tell why."""
        listed = [line for lines in wrong.values() for line in lines]
        told = evidence(self.company, wrong, self.diary, self.told(), self.trueup)
        (self.folder / "evidence.txt").write_text(told, encoding="utf-8")
        return "\n".join([f"{problem}:", *listed[:20], told])


def _row(holding: dict[str, Any]) -> tuple[str | None, int | None] | None:
    """What trueup has seen in a system, in the form of `Company.rows`; None: no row."""
    return None if holding["state"] == "none" else (holding["holds"].get("name"), holding["holds"].get("points"))


def main() -> None:
    """Play, and tell what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:.0f} s")
    folder = Path(tempfile.mkdtemp(prefix="trueup-soak-"))
    with ExitStack() as stack:
        soak = Soak(stack, folder, options.seed)
        try:
            soak.play(options.seconds)
        finally:
            events = Counter(str(event["event"]) for event in soak.told())
            for what, counts in (("edits", soak.company.made), ("weather", soak.weather), ("serve told", events)):
                print(f"{what}: {', '.join(f'{name} {count:,}' for name, count in sorted(counts.items()))}")
            print(f"its folder: {folder}")
    shutil.rmtree(folder)
    print("all agrees, and no edit is lost")


if __name__ == "__main__":
    main()
