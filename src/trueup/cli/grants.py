"""`trueup grants`: what trueup has to be allowed to do in a system, and is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import AsJson, ConfigFile, leave, say, say_json, style, workspace_of

if TYPE_CHECKING:
    from trueup.runtime.grants import Granted

NEEDS_A_PERSON = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("grants", short_help="What trueup must be allowed to do in a system, and is.")(grants)


def grants(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SYSTEM", help="The system.", show_default=False)],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the rights (in a database) or scopes (of an application) that the mappings of a system need, and whether they are given.

    What is missing is told with what fails without it, and how to give it; what is given and not needed is told as well. It only looks.
    Exit status 3 where something is missing. `trueup check` looks at all systems in the same way.
    """
    from trueup.errors import UsageError
    from trueup.runtime.grants import granted

    with workspace_of(ctx, config) as workspace:
        known = workspace.config.systems
        if name not in known:
            raise UsageError(f"there is no system {name}", hint=f"there are {', '.join(known)}")
        found = granted(workspace.config, workspace.systems, name)
    if as_json:
        say_json(_facts(found))
    else:
        _print(found)
    leave(NEEDS_A_PERSON if found.lacking else 0)


def _facts(found: Granted) -> dict[str, Any]:
    needed = [
        {"right": one.right, "on": one.place, "given": one.given, "without": one.without, "remedy": one.remedy}
        for one in found.permissions.needed
    ]
    return {"system": found.system, "told": found.told, "needed": needed, "beyond": list(found.permissions.beyond)}


def _print(found: Granted) -> None:
    from trueup.reports.table import table

    words = {True: "given", False: "missing", None: "not known"}
    if not found.permissions.needed:
        say(
            f"Of {found.system} it is not known which rights it gives."
            if not found.told
            else f"Nothing is said of the scopes that {found.system} needs."
        )
    else:
        rows = [[one.right, one.place, words[one.given]] for one in found.permissions.needed]
        say(table(["needed", "on", ""], rows, style()))
    for one in found.lacking:
        say(f"\n{one.right} on {one.place} is missing: {one.without}")
        if one.remedy:
            say(f"  {one.remedy}")
    if found.permissions.beyond:
        say("\nMore than is needed:")
    for what in found.permissions.beyond:
        say(f"  {what}")
