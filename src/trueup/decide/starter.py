"""What a recommendation begins with: a project to fill in that runs already, and a page for each procedure that people carry out."""

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


def starter(records: Mapping[str, Answers], found: Recommendation) -> dict[str, str]:
    """The files, by name: `trueup.yaml` with files of its own for what is kept together by a program, and one page per manual procedure."""
    files: dict[str, str] = {}
    automatic = {name: verdict for name, verdict in found.verdicts.items() if verdict.approach != "manual-process"}
    for name, verdict in found.verdicts.items():
        if verdict.approach == "manual-process":
            files[f"{_plain(name)}-by-hand.md"] = "\n".join(_by_hand(name, records[name]))
    if automatic:
        number = min(max(records[name].systems for name in automatic), _MOST_SYSTEMS)
        files["trueup.yaml"] = "\n".join(_configuration({name: (records[name], verdict) for name, verdict in automatic.items()}, number))
        for name in automatic:
            for system in range(1, min(records[name].systems, number) + 1):
                files[f"{_plain(name)}-{system}.csv"] = "id,name\n"
    return files


def _plain(name: str) -> str:
    """A name as configurations and files take it."""
    word = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return word[:40] if word[:1].isalpha() else f"records_{word[:30]}".rstrip("_")


def _configuration(entities: Mapping[str, tuple[Answers, Verdict]], number: int) -> Iterator[str]:
    yield "# Begun by `trueup decide`. It runs as it is, with empty files in the place of your systems: put yours in, one by one."
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


def _by_hand(name: str, answers: Answers) -> Iterator[str]:
    yield f"# {name}: by hand"
    yield ""
    yield f"{MEANS['manual-process']} Fill in what is between the brackets."
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield "| What is copied | [which record, which of its fields] |"
    yield "| From where | [system, screen or report] |"
    yield f"| To where | [{answers.systems - 1} other, and where to paste] |"
    yield f"| When | [{'once a week' if answers.delay == 'days' else 'every day'}, and when somebody asks] |"
    yield "| Who does it | [role], in their absence [role] |"
    yield "| Who checks it | [role] |"
    yield ""
    yield "## Steps"
    yield ""
    yield "1. [Open the report of what changed since the last time.]"
    yield "2. [Copy each record, field by field; tick it off.]"
    yield "3. Count: as many records there as in the report? Compare the sum of one column."
    yield "4. Write down the date, how many records, and how many minutes it took."
    yield ""
    yield "## Once a month"
    yield ""
    yield "- Take five records and compare them in all systems. How many differ?"
    yield "- Add up the minutes. More than a few records a week, or a mistake that cost money: run `trueup decide` again."
    yield ""
