"""A file of answers to the checklist: read, with every problem at its line."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from trueup.config.report import Report
from trueup.config.suggest import did_you_mean
from trueup.decide.answers import OPTIONAL, QUESTIONS, Answers, Question, contradiction
from trueup.errors import ConfigError
from trueup.yamlfile import plain, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from trueup.yamlfile import YamlPath

_ASKED = {question.name: question for question in (*QUESTIONS, *OPTIONAL)}
_NEEDED = [field.name for field in fields(Answers) if field.default is MISSING]


def read_answers(path: Path) -> dict[str, Answers]:
    """The answers for each kind of record. Raises ConfigError, with all that is missing, unknown or contradictory."""
    document = read_yaml(path, missing="correct the path of the answers; `trueup decide` asks, and `--save FILE` writes them down")
    report = Report(document)
    report.problems += document.problems
    data = document.data
    found: dict[str, Answers] = {}
    if not document.problems:
        records = data.get("records") if isinstance(data, dict) else None
        for name in data if isinstance(data, dict) else ():
            if name != "records":
                report.unknown((name,), "setting", name, "a file of answers", ["records"])
        if not isinstance(records, dict) or not records:
            report.add(
                ("records",), "no kind of record is named", "write `records:`, under it a name such as `customers:`, and the answers"
            )
        else:
            for name, given in records.items():
                answers = _one(report, ("records", name), given)
                if answers is not None:
                    found[name] = answers
    if report.problems:
        raise ConfigError(report.problems)
    return found


def _one(report: Report, path: YamlPath, given: Any) -> Answers | None:
    before = len(report.problems)
    if not isinstance(given, dict):
        report.add(path, "the answers are missing", f"answer {', '.join(_NEEDED)}")
        return None
    read: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _ASKED:
            report.unknown((*path, name), "question", name, "the answers", list(_ASKED))
        elif value is not None:
            read[name] = _read(report, (*path, name), _ASKED[name], plain(value))
    for name in _NEEDED:
        if given.get(name) is None:
            report.also(path, f"{name} is not answered: {_ASKED[name].asks}", _expected(_ASKED[name]))
    if len(report.problems) > before:
        return None
    answers = Answers(**read)
    why = contradiction(answers.frequency, answers.delay)
    if why is not None:
        report.add(
            (*path, "delay"),
            f"frequency {answers.frequency} and delay {answers.delay} contradict each other: {why}",
            "change one of the two",
        )
        return None
    return answers


def _read(report: Report, path: YamlPath, question: Question, value: Any) -> Any:
    """The value as the answers hold it; a problem where it is none of the answers."""
    words = [choice.word for choice in question.choices]
    if question.name == "abilities":
        listed = value if isinstance(value, list) else [value]
        unknown = [item for item in listed if item not in words]
        if unknown:
            report.add(path, f"`{unknown[0]}` is no ability{did_you_mean(str(unknown[0]), words)}", _expected(question))
        return tuple(word for word in words if word in listed)
    if question.name == "kind":
        return str(value)
    if question.least is not None:
        return _number(report, path, question, value, question.least)
    if words:
        if value not in words:
            report.add(path, f"`{value}` is none of the answers{did_you_mean(str(value), words)}", _expected(question))
        return value
    if not isinstance(value, bool):
        yes_or_no = {"yes": True, "no": False}.get(str(value).casefold())
        if yes_or_no is None:
            report.add(path, f"`{value}` is neither yes nor no", _expected(question))
        return yes_or_no
    return value


def _number(report: Report, path: YamlPath, question: Question, value: Any, least: int) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        report.add(path, f"`{value}` is no whole number", _expected(question))
    elif value < least:
        why = "with fewer than two systems there is nothing to keep together" if question.name == "systems" else f"it is less than {least}"
        report.add(path, f"{value}: {why}", _expected(question))
    return value


def _expected(question: Question) -> str:
    if question.choices:
        return f"one of: {', '.join(choice.word for choice in question.choices)}"
    if question.least is not None:
        return f"a whole number, {question.least} or more"
    return "any words" if question.name == "kind" else "true or false"
