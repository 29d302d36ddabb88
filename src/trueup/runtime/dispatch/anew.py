"""A pass over single rows that somebody had begun before: what was decided then, and not delivered, is shown by no row any more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trueup.runtime.serving.rolling import add_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.model import EntitySummary
    from trueup.runtime.pass_options import PassOptions


def anew(one_pass: Callable[[PassOptions], tuple[EntitySummary, str | None]], options: PassOptions) -> tuple[EntitySummary, str | None]:
    """Run it, and then consider everything that waits to be delivered."""
    summary, problem = one_pass(options)
    if problem is None and options.keys is not None:
        more, problem = one_pass(replace(options, keys=None, only=frozenset()))
        add_up(summary, more)
    return summary, problem
