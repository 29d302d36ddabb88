"""`python -m trueup` is the `trueup` command, and the script `trueup` begins here.

An interruption (Ctrl+C) is answered in our words from here on: loading the command line takes a while, and so does the end of a
process, when its work is done and its exit status decided.

Both would take longer with the garbage collector at work: what is loaded stays to the end, and then goes with the process. See
`cli.shared.all_loaded` for what lies in between.

Memory that Polars has freed goes back to the system when it is asked for no more, and not a second later: of a large table it is much.

A thread that writes to SQLite lets the others run at every step, and would wait for up to five milliseconds each time until it is its turn
again; measured at a first sync of a million rows, a tenth of that time is as good for everybody and spares a twentieth of the whole.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
TURN_S = 0.0005


def _before_the_start(_number: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, b"trueup: interrupted before anything was done\n")
    os._exit(INTERRUPTED)


def main() -> int:
    """Run the command of this process and return its exit status."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where whoever started us wants SIGINT ignored
    if ours:
        signal.signal(signal.SIGINT, _before_the_start)
    gc.disable()
    sys.setswitchinterval(TURN_S)
    os.environ.setdefault("_RJEM_MALLOC_CONF", "muzzy_decay_ms:0")
    from trueup.cli.main import main as command

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return command()
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if "duckdb" not in sys.modules:  # its bindings count what is left at the end, and complain of it
            gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
