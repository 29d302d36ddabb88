"""The audit trail for people and programs: its lines in words, its head as it goes out with reports, and what was found wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueup.reports.table import PLAIN, counted, table, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.core.chain import Head, Verdict
    from trueup.reports.table import Style

PATHS_SHOWN = 5


def head_dict(head: Head | None) -> dict[str, Any] | None:
    """The head as it stands in the JSON of a report: None where there is no trail."""
    return None if head is None else {"lines": head.number, "head": str(head)}


def head_text(head: Head | None) -> str:
    """One line for the end of a report; empty where there is no trail. The head is what `trueup audit verify --head` takes."""
    return "" if head is None or not head.number else f"Audit trail: {counted(head.number, 'line')}, head {head}"


def with_head(text: str, head: Head | None) -> str:
    """A report with the head in its last line."""
    line = head_text(head)
    return f"{text}\n\n{line}" if line else text


def trail_text(lines: Sequence[Mapping[str, Any]], style: Style = PLAIN) -> str:
    """Lines of the trail, one a row; the empty text for none."""
    rows = [
        [line["number"], str(line["at"])[:19].replace("T", " ") + "Z", _who(line["who"]), line["kind"], visible(_words(line))]
        for line in lines
    ]
    return table(("line", "at", "who", "kind", "what"), rows, style, open_end=True)


def verdict_dict(verdict: Verdict) -> dict[str, Any]:
    """The outcome of a verification as JSON."""
    flaw = verdict.flaw
    return {
        "whole": flaw is None,
        "lines": verdict.head.number,
        "head": str(verdict.head),
        "problem": None if flaw is None else {"line": flaw.number, "message": flaw.what},
    }


def verdict_text(verdict: Verdict, place: str, *, noted: bool) -> str:
    """The outcome in a line or two."""
    if verdict.flaw is None:
        known = " and the head that was given is in it" if noted else ""
        return f"{place} is whole: {counted(verdict.head.number or 0, 'line')}, each as it was written{known}.\nHead: {verdict.head}"
    good = verdict.flaw.number - 1
    before = f"Lines 1 to {good} are as they were written." if good > 1 else ("Line 1 is as it was written." if good == 1 else "")
    return f"{place} was tampered with or is damaged: {verdict.flaw.what}.\n{before}".rstrip()


def _who(who: Mapping[str, Any]) -> str:
    if "person" in who:
        return visible(f"{who['person']} ({who.get('through')}{', key ' + str(who['key']) if 'key' in who else ''})")
    return visible(f"{who.get('user')}@{who.get('host')} ({who.get('pid')})")


def _words(line: Mapping[str, Any]) -> str:
    what = line.get("what", {})
    match line.get("kind"):
        case "command":
            said = " ".join(_argument(name, value) for name, value in what["arguments"].items())
            return f"{what['command']} {said}".rstrip() + (f": {what['why']}" if what.get("why") else "")
        case "configuration":
            return _configuration(what)
        case "run":
            return _run(what)
        case "sending":
            fields = ", ".join(f"{name} {count:,}" for name, count in what["fields"].items())
            return f"{_run_of(what)}{what['operation']} {counted(what['rows'], 'row')} of {what['entity']} in {what['system']}" + (
                f": {fields}" if fields else ""
            )
        case "sent" if "subscriber" in what:
            values = f", with {', '.join(what['values'])}" if what["values"] else ""
            return f"{counted(what['notices'], 'notice')} to {what['subscriber']}{values}"
        case "sent":
            counts = [f"{count:,} {name}" for name, count in what.items() if name in {"created", "updated", "deleted", "refused", "stale"}]
            return f"{_run_of(what)}{what['entity']} in {what['system']}: {', '.join(counts) or 'nothing was written'}"
        case "package":
            return _package(what)
    return " ".join(_argument(name, value) for name, value in what.items())


def _package(what: Mapping[str, Any]) -> str:
    """A package that goes out (before it does), or what became of one that came."""
    if what["event"] == "export":
        rows = counted(what["rows"], "record")
        return f"{what['package']} to {what['place']}: {rows}, {', '.join(what['fields'])}, hash {what['statement'][:12]}…"
    rows = f": {counted(what['rows'], 'record')}" if what["event"] == "accepted" else f": {what['kind']}"
    return f"{what['package']} {what['event']} as {what['system']}{rows}, hash {what['statement'][:12]}…"


def _argument(name: str, value: Any) -> str:
    if value is True:
        return f"--{name.replace('_', '-')}"
    return f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}"


def _configuration(what: Mapping[str, Any]) -> str:
    if "changed" not in what:
        return f"first seen: {counted(what['paths'], 'setting')} in {what['file']}, hash {what['hash'][:12]}…"
    parts = [f"{word}: {_some(what[word])}" for word in ("changed", "added", "removed") if what[word]]
    return f"{'; '.join(parts)} (in {what['file']}, hash {what['hash'][:12]}…)"


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - PATHS_SHOWN} more" if len(paths) > PATHS_SHOWN else ""
    return ", ".join(paths[:PATHS_SHOWN]) + more


def _run(what: Mapping[str, Any]) -> str:
    if what["event"] == "began":
        return f"run {what['run']} began: {what['command']} ({', '.join(what['entities'])})"
    wrote = "; ".join(_wrote(entity, systems) for entity, systems in what["wrote"].items())
    return f"run {what['run']} ended: {what['status']}, " + (wrote or "nothing was written")


def _wrote(entity: str, systems: Mapping[str, Mapping[str, int]]) -> str:
    parts = [f"{system} {', '.join(f'{count:,} {name}' for name, count in counts.items())}" for system, counts in systems.items()]
    return f"{entity}: {', '.join(parts)}"


def _run_of(what: Mapping[str, Any]) -> str:
    return "" if what.get("run") is None else f"run {what['run']}: "


def chosen(
    lines: Iterator[dict[str, Any]], *, kind: str | None, user: str | None, since: str | None, run: int | None, limit: int
) -> list[dict[str, Any]]:
    """The first `limit` lines that fit; `lines` come newest first, times are compared as the texts that they are."""
    found = []
    for line in lines:
        at = str(line["at"])
        in_time = since is None or at >= since  # a clock may have been set back: none ends the search
        users = {None, line["who"].get("user"), line["who"].get("person")}
        fits = kind in {None, line["kind"]} and user in users and run in {None, line["what"].get("run")}
        if fits and in_time:
            found.append(line)
            if len(found) == limit:
                break
    return found
