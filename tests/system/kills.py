"""Work that is killed, as by `kill -9`, at each of its steps in turn.

A step is a file opened, renamed, written through or removed, a statement, a commit.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "sqlite3.connect", "subprocess.Popen", "os.chmod", "os.link"}
MOST_STEPS = 2000


def killed_at_each_step(template: Path, work: Callable[[Path], Any], then: Callable[[Path], None], *, every: int = 1) -> int:
    """Run `work` on copies of the folder `template`, killed at its first step, its second …, until it ends by itself.

    Of work of many steps, `every` so manieth is enough.

    `then` looks each time. Both run in processes of their own, forked from this one, which has nothing but one thread. Returns how often
    `work` was killed.
    """
    for number in range(1, MOST_STEPS, every):
        folder = template.with_name(f"{template.name}-{number}")
        shutil.copytree(template, folder)
        status = _forked(partial(_until, number, folder, work))
        if status not in (0, -signal.SIGKILL):
            raise AssertionError(f"the work ended with {status} when it was to be killed at step {number}")
        if _forked(partial(then, folder)):
            raise AssertionError(f"after a kill at step {number}")
        shutil.rmtree(folder)
        if status == 0:
            return number // every
    raise AssertionError("the work never ended")


def _until(number: int, folder: Path, work: Callable[[Path], Any]) -> None:
    _kill_at(number, folder)
    work(folder)


def _kill_at(number: int, folder: Path) -> None:
    left = number

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and any(str(folder) in str(argument) for argument in arguments):
            step()

    sys.addaudithook(audit)
    fsync = os.fsync

    def counted(handle: Any) -> None:
        step()
        fsync(handle)

    setattr(os, "fsync", counted)  # noqa: B010 - for this process alone
    import sqlalchemy as sa

    sa.event.listen(sa.Engine, "before_cursor_execute", lambda *_: step())
    sa.event.listen(sa.Engine, "commit", lambda *_: step())


def _forked(job: Callable[[], Any]) -> int:
    """The exit status of a job in a forked process; negative for the signal that ended it."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            job()
        except BaseException:  # noqa: BLE001 - whatever it was, the process ends here, and says it
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
