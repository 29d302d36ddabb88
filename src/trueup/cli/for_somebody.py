"""One command, done for somebody who asked for it through the API or the dashboard: the very command, and the audit trail names them."""

from __future__ import annotations

import signal
import sys

import orjson

from trueup.store import audit


def main() -> int:
    """Do what stands on standard input, and end with the command's status."""
    from trueup.cli.main import main as command

    signal.signal(signal.SIGINT, signal.default_int_handler)  # the desk itself leaves that to who started it
    order = orjson.loads(sys.stdin.buffer.read())
    audit.done_for(audit.Actor(order["name"], order["through"], order["key"]), order["why"])
    sys.argv = ["trueup", *order["command"]]
    return command()


if __name__ == "__main__":
    sys.exit(main())
