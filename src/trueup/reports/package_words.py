"""Packages in words and as values for programs: what was sent, what came, and how all of them stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, Style, counted, moment, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS = {
    "half-copied": "not all of it is there yet",
    "tampered": "it is not what was sent",
    "wrong": "its maker's mistake",
    "missing": "one before it never came",
    "repeat": "its number was there before",
}


def exported_text(body: Mapping[str, Any]) -> str:
    """A package that was put somewhere."""
    gone = f", {counted(body['gone'], 'record')} told as gone" if body["gone"] else ""
    lines = [f"{body['package']} is in {body['place']}: {counted(body['rows'], 'record')} as of {moment(body['cutoff'])}{gone}."]
    lines += [f"  total of {name}: {total}" for name, total in body["totals"].items()]
    return "\n".join(lines)


def imported_text(body: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """What became of packages that came."""
    lines = []
    for part in body:
        lines += [_taken(one, part["system"], style) for one in part["packages"]]
        if part["late"] is not None:
            word = "missing" if part["late"]["missing"] else "late"
            lines.append(
                f"{style.paint('!', 'warn')} a package of {part['entity']} is {word}: one was due at {moment(part['late']['since'])}"
            )
        elif not part["packages"]:
            last = f"; the last one was {part['last']}" if part["last"] else ""
            lines.append(f"No new package of {part['entity']}{last}.")
    return "\n".join(lines)


def _number(package: str) -> int:
    """The number of a package, by its name: a folder's, or a file's with an ending."""
    return int(package.partition(".")[0].rpartition("-")[2])


def _taken(one: Mapping[str, Any], system: str, style: Style) -> str:
    if one["status"] == "accepted":
        waiting = f"; {counted(one['waiting'], 'row')} of it wait: `trueup failures`" if one["waiting"] else ""
        run = f"; run {one['run']}: {one['run_status']}" if one["run"] is not None else ""
        return f"{one['package']}: accepted as {system}, {counted(one['rows'], 'record')}{run}{waiting}"
    word = "refused" if one["status"] == "refused" else "waits"
    # Asked for again, the one before it may still come; who knows that it will not goes on by its number.
    then = f"; `trueup import … --next {_number(one['package'])}` goes on without it" if one["kind"] == "missing" else ""
    return f"{style.paint('!', 'warn')} {one['package']}: {word}, {one['kind']} ({KINDS[one['kind']]}): {one['why']}{then}"


def packages_text(body: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """How all packages stand."""
    rows = []
    for one in body:
        answer = one["answer"]
        said = "" if answer is None else f"{answer['sequence']:06d} {answer['status']}"
        rows.append(
            [one["name"], one["direction"], one["entity"], one["place"], one["last"] or "", moment(one["at"]) if one["at"] else "", said]
        )
    lines = [table(("packages", "way", "entity", "place", "last", "at", "answer"), rows, style)] if rows else []
    for one in body:
        if one["trouble"] is not None:
            trouble = one["trouble"]
            about = f" {trouble['package']}" if trouble["package"] else ""
            lines.append(
                f"{style.paint('!', 'warn')} {one['name']}:{about} {trouble['kind']}: {trouble['why']} (since {moment(trouble['since'])})"
            )
        if one["late"] is not None:
            word = "missing" if one["late"]["missing"] else "late"
            lines.append(f"{style.paint('!', 'warn')} {one['name']}: {word}: a package was due at {moment(one['late']['since'])}")
        answer = one["answer"]
        if answer is not None and answer["kind"] is not None:
            what = f"{answer['sequence']:06d} was {answer['status']}, {answer['kind']}: {answer['why']}"
            lines.append(f"{style.paint('!', 'warn')} {one['name']}: {what}")
        if one["public_key"] is not None:
            lines.append(f"{one['name']} is signed; its public key, for `signers` on the other side: {one['public_key']}")
    return "\n".join(lines)
