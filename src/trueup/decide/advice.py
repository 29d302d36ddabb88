"""What goes with a verdict: why not the next best, what to be careful about, and what to do now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.decide.rules import CHEAP, COSTLY, DUPLICATED, MESSY, QUICK, RARE, TWO_MASTERS, UNTENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trueup.decide.answers import Answers
    from trueup.decide.rules import Approach, Condition

NAMES: Mapping[Approach, str] = {
    "immediate-sync": "immediate sync",
    "nightly-batch": "nightly batch",
    "single-source-of-truth": "single source of truth",
    "light-connector": "light connector",
    "manual-process": "documented manual process",
}
"""The approaches, as people call them."""

PRICES: Mapping[Approach, str] = {
    "immediate-sync": "a process that runs all the time, systems that tell of their changes, and somebody who hears it when it stops",
    "nightly-batch": "between two runs everybody works with what was true at the last one",
    "single-source-of-truth": "a clean-up before anything else, and people who no longer edit where they are used to",
    "light-connector": "few fields, in one direction, as far as the vendors' interfaces go",
    "manual-process": "somebody's minutes for every record, and the slips that hands make",
}
"""What each approach costs whoever chooses it."""

MEANS: Mapping[Approach, str] = {
    "immediate-sync": "Changes cross as they happen, by webhooks or change capture, and a sweep finds what was missed.",
    "nightly-batch": "All is compared and carried over at a set hour, in one go, with checksums and a report in the morning.",
    "single-source-of-truth": "One system's word counts: the records are cleaned and moved there once, and are no longer edited elsewhere.",
    "light-connector": "A ready-made connection carries a few fields in one direction within a minute, and needs hardly any care.",
    "manual-process": "One page says who copies what, where and when; once a month somebody looks whether it still holds.",
}
"""What each approach is."""


_WHY_NOT: Mapping[tuple[Approach, Approach], tuple[tuple[Condition | None, str], ...]] = {
    ("immediate-sync", "light-connector"): (
        (COSTLY, "it is near to instant, but cannot say afterwards that nothing was lost, and that is what would be dear"),
        (None, "it moves few fields by simple rules, and somebody is there who can keep up more"),
    ),
    ("light-connector", "immediate-sync"): ((None, "nobody looks after integrations: nobody would notice that it stopped"),),
    ("nightly-batch", "immediate-sync"): ((None, "a record may wait for {delay}: seconds would be paid for and help nobody"),),
    ("nightly-batch", "light-connector"): ((None, "it moves single records, and nobody counts afterwards; a record may wait for {delay}"),),
    ("nightly-batch", "manual-process"): (
        (None, "somebody looks after integrations already: a run at night costs no minutes and makes no slips"),
    ),
    ("nightly-batch", "single-source-of-truth"): (
        (DUPLICATED, "the versions are clean: a rule for each field settles where they differ, and nobody has to give up a system"),
        (None, "there is a clear owner already: its records are cleaned on their way"),
    ),
    ("manual-process", "nightly-batch"): (
        (None, "somebody would have to set it up and read its reports, for records that move seldom and are easily mended"),
    ),
    ("manual-process", "single-source-of-truth"): (
        (None, "a clean-up and a move cost more than mistakes that are easily mended, and nobody is there to carry them through"),
    ),
    ("single-source-of-truth", "immediate-sync"): (
        (None, "between messy versions it would carry wrong and doubled records over, only faster"),
    ),
    ("single-source-of-truth", "light-connector"): (
        (None, "between messy versions it would carry wrong and doubled records over, only faster"),
    ),
    ("single-source-of-truth", "nightly-batch"): (
        (None, "two masters would stay two masters, and the same differences would be settled night after night"),
    ),
}
"""Per approach and next best, what speaks against the next best: the first of which the condition holds."""


def why_not(answers: Answers, chosen: Approach, other: Approach) -> str:
    """Why the next best is not the best."""
    said = next(words for condition, words in _WHY_NOT[chosen, other] if condition is None or condition.holds(answers))
    return said.format(delay=answers.delay)


def more_reasons(answers: Answers, approach: Approach) -> Iterator[str]:
    """What else speaks for the approach."""
    if approach == "nightly-batch" and not CHEAP.holds(answers):
        yield "checksums and a report each morning show that nothing was lost or doubled"
    if approach == "immediate-sync" and DUPLICATED.holds(answers):
        yield "the versions are clean, so that a rule for each field can settle what changes in two places"
    if approach == "single-source-of-truth" and QUICK.holds(answers):
        yield "from the one truth, changes can then cross at once"
    if approach == "light-connector" and COSTLY.holds(answers):
        yield "it is near to instant, and what it misses is found by comparing every night"
    if answers.systems > 2 and approach != "manual-process":
        yield f"{answers.systems} systems meet in one hub instead of in {answers.systems * (answers.systems - 1) // 2} connections"


_GROWN = 5
_CONNECTED: frozenset[Approach] = frozenset({"immediate-sync", "light-connector"})
_AUTOMATIC: frozenset[Approach] = _CONNECTED | {"nightly-batch", "single-source-of-truth"}
_ALL: frozenset[Approach] = _AUTOMATIC | {"manual-process"}

_RISKS: tuple[tuple[frozenset[Approach], Callable[[Answers], bool], str], ...] = (
    (frozenset({"manual-process"}), lambda _: True, "hands slip and forget: look once a month at what was copied"),
    (
        frozenset({"manual-process"}),
        lambda it: it.people > 1,
        "{people} people may each think that another did it: name one who does, and one who stands in",
    ),
    (frozenset({"manual-process"}), lambda it: it.systems > 2, "each record has to be typed in {others} times"),
    (
        frozenset({"single-source-of-truth"}),
        lambda _: True,
        "people go on editing where they are used to: what they write there is overruled, until they are kept from it",
    ),
    (
        frozenset({"single-source-of-truth"}),
        lambda _: True,
        "a clean-up may take two records for one that only look alike: let doubtful ones be asked about, and keep a way back",
    ),
    (
        frozenset({"nightly-batch"}),
        lambda _: True,
        "a run that fails is noticed in the morning: somebody has to look at the report, or an alert has to reach somebody",
    ),
    (_CONNECTED, lambda _: True, "a mistake crosses as fast as everything else: guards hold mass changes until somebody has looked"),
    (_AUTOMATIC, UNTENDED.holds, "nobody looks after it: give alerts an address that somebody reads"),
    (
        _CONNECTED | {"nightly-batch"},
        DUPLICATED.holds,
        "the same field is changed in two places at once: choose for each field whose word counts, or that a person decides",
    ),
    (
        _ALL - {"single-source-of-truth"},
        MESSY.holds,
        "what is written wrongly in one system will be written wrongly in all: clean before the first run",
    ),
    (
        _ALL,
        lambda it: bool(it.regulated),
        "the law has a say: move only the fields that are needed, keep who may see them, and be able to delete a person everywhere",
    ),
    (
        _CONNECTED | {"single-source-of-truth"},
        lambda it: it.abilities == ("exports",),
        "the systems write files and no more: what happens is known only when a file is written, and nothing can be sent back to them",
    ),
    (
        _CONNECTED | {"single-source-of-truth"},
        lambda it: it.abilities == ("api",) and QUICK.holds(it),
        "the systems do not tell of changes: they have to be asked again and again, within their limits",
    ),
    (
        _ALL,
        lambda it: bool(it.volume and it.volume_in_two_years and it.volume_in_two_years >= _GROWN * it.volume),
        "from {volume} to {later} records in two years: look again in a year",
    ),
    (
        frozenset({"single-source-of-truth", "immediate-sync"}),
        lambda it: it.budget == "none",
        "it takes days of somebody's work, although nothing has to be bought",
    ),
)
"""What may go wrong: with which approaches, under which answers."""


def risks(answers: Answers, approach: Approach) -> Iterator[str]:
    """What may go wrong with it, given these answers."""
    words = {
        "people": answers.people,
        "others": answers.systems - 1,
        "volume": f"{answers.volume or 0:,}",
        "later": f"{answers.volume_in_two_years or 0:,}",
    }
    yield from (said.format(**words) for approaches, holds, said in _RISKS if approach in approaches and holds(answers))


def next_steps(answers: Answers, approach: Approach, pace: str) -> Iterator[str]:
    """What to do now, in order. Commands stand between backquotes."""
    if approach == "manual-process":
        yield "`--init FOLDER` begins a `trueup.yaml` to fill in: which record, from where to where, who does it, who checks it, and when."
        yield "`trueup runbook` writes the page to hang up; `trueup manual due` says what is due, `trueup manual done` notes the minutes."
        yield "Once a month, `trueup manual review`: where it has become more than a few records a week, answer these questions again."
        return
    yield "`trueup init NAME=ADDRESS NAME=ADDRESS` proposes a `trueup.yaml` from what the systems hold; read it, then `trueup check`."
    yield "`trueup drift` shows how far the systems disagree today."
    if MESSY.holds(answers):
        yield "Clean what the report shows as dirty: `clean:` on the fields, and the rest by hand, where it is at home."
    if TWO_MASTERS.holds(answers):
        yield "Choose the system whose word counts, for each field (`source_of_truth`), and tell everybody where to edit from now on."
    elif DUPLICATED.holds(answers):
        yield "For each field, name the system whose word counts (`source_of_truth`) or a rule (`conflict`)."
    elif approach == "light-connector":
        yield "Map the few fields that matter, from the one system to the other (`direction: read` and `direction: write`)."
    if approach == "single-source-of-truth":
        yield "`trueup migrate ENTITY --to SYSTEM` goes there in stages, looking first; `trueup lock` refuses edits elsewhere."
    else:
        yield (
            "`trueup plan` shows what would be written, `trueup rehearse` tries it on masked copies; then `trueup sync` does it, and"
            " `trueup verify` proves it."
        )
    if pace == "at once":
        yield "`when: [realtime]`, `max_delay`, and `trueup serve`, with alerts to the owner."
    elif pace == "every hour":
        yield "`when: [{every: 1h}]`, and `trueup serve`, with alerts to the owner."
    else:
        yield '`when: [{at: "02:00"}]` and `trueup serve`, or `trueup sync` from cron, with the exit status watched.'
    if RARE.holds(answers) and pace == "every night":
        yield "A run that finds nothing costs nothing: leave it nightly, even though little moves."
