"""Workers: passes of entities run by other processes, and taken over when one of these is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.system.dispatch.firm import OFTEN, Firm, Process, processes, wait_until


@pytest.mark.slow
def test_workers_do_the_passes_and_the_server_does_where_there_are_none(tmp_path: Path, postgres_url: str) -> None:
    firm = Firm(tmp_path, postgres_url, when=OFTEN)
    with processes() as all_of_them:
        server = Process(firm, "serve", "--port", "0")
        all_of_them.append(server)
        server.told("pass")
        firm.crosses("c1@example.org", "By the server itself")
        worker = Process(firm, "worker")
        all_of_them.append(worker)
        worker.told("working")
        while not worker.events("pass"):
            firm.crosses("c1@example.org", f"By whoever is there {server.file.stat().st_size}")
        firm.crosses("c2@example.org", "By the worker")
        worker.end()
        firm.crosses("c3@example.org", "By the server again")
    firm.agrees()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_worker_was_about_is_taken_over(tmp_path: Path, postgres_url: str, how: signal.Signals) -> None:
    firm = Firm(tmp_path, postgres_url, when=OFTEN)
    with processes() as all_of_them:
        server = Process(firm, "serve", "--port", "0")
        all_of_them.append(server)
        server.told("pass")
        first, second = Process(firm, "worker"), Process(firm, "worker")
        all_of_them += [first, second]
        first.told("working")
        second.told("working")
        for round_ in range(5):
            for number in range(1, 6):
                firm.rename("crm", f"c{number}@example.org", f"Round {round_}")
            firm.crosses("c1@example.org", f"Last of round {round_}")
        first.signal(how)
        firm.crosses("c2@example.org", "After one was gone")
        if how == signal.SIGSTOP:
            wait_until(lambda: bool(server.events("taken over") or second.events("taken over")), "others declared it gone")
            first.signal(signal.SIGCONT)
            first.told("stood down")
            first.told("working", 2)
        else:
            first.process.wait()
            all_of_them.remove(first)
        firm.crosses("c3@example.org", "At last")
    firm.agrees()


@pytest.mark.slow
def test_a_command_that_is_typed_meanwhile_has_the_state_alone(tmp_path: Path, postgres_url: str) -> None:
    firm = Firm(tmp_path, postgres_url, when=OFTEN)
    with processes() as all_of_them:
        server, *workers = [Process(firm, "serve", "--port", "0"), Process(firm, "worker"), Process(firm, "worker")]
        all_of_them += [server, *workers]
        server.told("pass")
        for worker in workers:
            worker.told("working")
        over = Event()

        def edit() -> None:
            number = 0
            while not over.is_set():
                number += 1
                firm.rename("crm", f"c{number % 5 + 1}@example.org", f"Edit {number}")
                time.sleep(0.02)

        editing = Thread(target=edit)
        editing.start()
        try:
            for _time in range(3):
                typed = subprocess.run(
                    [sys.executable, "-m", "trueup", "sync"], cwd=firm.folder, capture_output=True, text=True, timeout=90, check=False
                )
                assert typed.returncode == 0, typed.stderr
        finally:
            over.set()
            editing.join()
        assert any(worker.events("pass") for worker in workers)
        firm.crosses("c1@example.org", "Afterwards")
    firm.agrees()


@pytest.mark.slow
def test_a_changed_configuration_is_taken_up_by_the_server_when_it_is_told_and_by_workers_then(tmp_path: Path, postgres_url: str) -> None:
    firm = Firm(tmp_path, postgres_url)
    with processes() as all_of_them:
        server, worker = Process(firm, "serve", "--port", "0"), Process(firm, "worker")
        all_of_them += [server, worker]
        server.told("pass")
        worker.told("working")
        text = firm.file.read_text(encoding="utf-8")
        firm.file.write_text(text.replace("match:", "mach:"), encoding="utf-8")
        server.signal(signal.SIGHUP)
        server.told("configuration")
        worker.told("configuration")
        assert all("stays as it was" in event["why"] for one in (server, worker) for event in one.events("configuration"))
        changed = text.replace("name: {type: text,", "name: {type: text, clean: [upper],")
        assert changed != text
        firm.file.write_text(changed, encoding="utf-8")
        worker.told("configuration", 2)
        assert "other entities" in worker.events("configuration")[-1]["why"]
        server.signal(signal.SIGHUP)
        server.told("serving", 2)
        worker.told("working", 2)
        firm.rename("crm", "c1@example.org", "written small")
        wait_until(lambda: firm.name("till", "c1@example.org") == "WRITTEN SMALL", "the name as it is cleaned now")
