"""What a recommendation begins with: a project to fill in that runs already, also where people carry it out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trueup.decide.advice import MEANS, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.decide.answers import Answers
    from trueup.decide.verdict import Recommendation, Verdict

WHEN = {"at once": "[realtime]", "every hour": "[{every: 1h}]", "every night": '[{at: "02:00"}]'}
"""`when:` of a configuration, by pace."""
MAX_DELAY = {"seconds": "1m", "minutes": "15m", "hours": "1d", "days": "3d"}
"""`max_delay:` of a configuration, by the longest tolerable wait."""
_MOST_SYSTEMS = 20
_LONGEST_NAME = 120
_LONGEST_KEY = 80


def starter(records: Mapping[str, Answers], found: Recommendation) -> dict[str, str]:
    """The files, by name: `trueup.yaml`, and files of its own for what is kept together by a program.

    What is done by hand stands under `manual:`, from which `trueup runbook` writes a page for each procedure.
    """
    files: dict[str, str] = {}
    automatic = {name: (records[name], verdict) for name, verdict in found.verdicts.items() if verdict.approach != "manual-process"}
    by_hand = {name: records[name] for name, verdict in found.verdicts.items() if verdict.approach == "manual-process"}
    lines = ["# Begun by `trueup decide`."]
    if automatic:
        number = min(max(answers.systems for answers, _verdict in automatic.values()), _MOST_SYSTEMS)
        lines += _configuration(automatic, number)
        for name, (answers, _verdict) in automatic.items():
            files |= {f"{_plain(name)}-{system}.csv": "id,name\n" for system in range(1, min(answers.systems, number) + 1)}
    if by_hand:
        lines += _by_hand(by_hand)
    return {"trueup.yaml": "\n".join(lines), **files}


def _plain(name: str) -> str:
    """A name as configurations and files take it."""
    word = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return word[:40] if word[:1].isalpha() else f"records_{word[:30]}".rstrip("_")


def _configuration(entities: Mapping[str, tuple[Answers, Verdict]], number: int) -> Iterator[str]:
    yield "# It runs as it is, with empty files in the place of your systems: put yours in, one by one."
    yield "# Where you know their addresses, `trueup init NAME=ADDRESS NAME=ADDRESS --into FOLDER` writes this from what they hold."
    yield ""
    yield "systems:"
    for name, (answers, _verdict) in entities.items():
        for system in range(1, min(answers.systems, number) + 1):
            place = f"{_plain(name)}-{system}.csv"
            yield f"  {_plain(name)}_{system}: {{connector: csv, path: {place}}}    # or {{connector: postgres, url: …}}"
    yield ""
    yield "entities:"
    for name, (answers, verdict) in entities.items():
        yield from _entity(
            _plain(name), answers, verdict, [f"{_plain(name)}_{system}" for system in range(1, min(answers.systems, number) + 1)]
        )


def _entity(name: str, answers: Answers, verdict: Verdict, systems: list[str]) -> Iterator[str]:
    first = systems[0]
    owned = answers.ownership == "clear" or verdict.approach == "single-source-of-truth"
    yield f"  {name}:    # {NAMES[verdict.approach]}. {MEANS[verdict.approach]}"
    yield "    match: [[name]]    # the field that tells that two rows are one thing: an e-mail address, an article number"
    yield f"    precedence: [{', '.join(systems)}]"
    yield "    fields:"
    settled = f"{{source_of_truth: {first}}}    # the system whose word counts" if owned else "{}    # source_of_truth, or a conflict rule"
    yield f"      name: {settled}"
    yield "    mappings:"
    for system in systems:
        direction = "read" if system == first else "write"
        one_way = f"direction: {direction}, " if verdict.approach == "light-connector" else ""
        yield f"      {system}: {{{one_way}key: id, fields: {{name: name}}}}"
    yield f"    when: {WHEN[verdict.pace]}"
    yield f"    max_delay: {MAX_DELAY[answers.delay]}"
    yield "    # owner: the role or person who is told when something needs a decision"
    yield ""


def _by_hand(records: Mapping[str, Answers]) -> Iterator[str]:
    """What people do, to be filled in; it is due and tracked as it is."""
    yield ""
    yield "# By hand: fill in what is between the brackets. `trueup runbook` then writes a page of each, to hang up; `trueup manual due`"
    yield "# says what is due, `trueup manual done NAME --minutes N` notes it, and `trueup manual review` what is worth automating."
    yield "runbooks: runbooks"
    yield "manual:"
    for name, answers in records.items():
        others = answers.systems - 1
        yield f"  {_quoted(name[:_LONGEST_KEY])}:"
        yield f"    every: {'7d' if answers.delay == 'days' else '1d'}    # and when somebody asks"
        yield '    owner: "[the role that does it]"'
        yield '    stand_in: "[who does it in their absence]"'
        yield '    checked_by: "[who looks whether it was done]"'
        yield f"    what: {_quoted(f'[which {name}, and which of their fields]')}"
        yield '    from: "[system, screen or report]"'
        yield f'    to: ["[{others} other{"s" if others != 1 else ""}, and where to paste]"]'
        yield "    steps:"
        yield '      - {do: "[Open the report of what changed since the last time]", minutes: 5}'
        yield '      - {do: "[Copy each record, field by field; tick it off]", paste: "[screen and field]", minutes: 15}'
        yield "    checks:"
        yield "      - as many records there as in the report"
        yield "      - the sum of one column is the same in both"
    yield ""


def _quoted(name: str) -> str:
    """A text as YAML takes it, whatever it holds."""
    escaped = "".join(char if char.isprintable() else " " for char in name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped[:_LONGEST_NAME]}"'
