"""What is wrong in a configuration: all of it at once, each with its line, what is wrong and what would be right."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueup.config import load_config
from trueup.errors import ConfigError
from trueup.model import Config

BASE = """\
systems:
  crm: {connector: sqlite, path: crm.db}
  sheet: {connector: csv, path: customers.csv}
entities:
  customer:
    match: [[email]]
    fields: {name: text, email: text, credit: decimal, tags: list, status: {one_of: [active, closed]}}
    mappings:
      crm: {object: contacts, key: id, fields: {name: name, email: email}}
      sheet: {key: No, fields: {name: Name, email: E-mail}}
"""


def base(*changes: tuple[str, str]) -> str:
    text = BASE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def address(url: str) -> str:
    """The configuration with a server in the place of the file."""
    kind = url.partition(":")[0].replace("postgresql", "postgres")
    return base(("connector: sqlite, path: crm.db", f'connector: {kind}, url: "{url}"'))


def entity(more: str) -> str:
    return f"{BASE}    {more}\n"


def field(name: str, definition: str) -> str:
    return base(("credit: decimal,", f"credit: decimal, {name}: {definition},"))


def crm(fields: str) -> str:
    return base(("fields: {name: name, email: email}", f"fields: {fields}"))


def sheet(settings_: str) -> str:
    return base(("key: No,", f"key: No, {settings_},"))


def test_a_misspelt_field_is_told_as_promised(problems):
    [problem] = problems(crm("{name: name, emial: email}"))
    assert problem.line == 9
    assert problem.path == "entities.customer.mappings.crm.fields.emial"
    assert problem.message == "unknown field `emial` in mapping crm: did you mean `email`?"
    assert "name, email" in problem.hint


def test_all_problems_are_told_at_once_in_the_order_of_the_file(problems):
    found = problems(
        base(
            ("crm.db}", "crm.db, pth: x}"),
            ("connector: csv", "connector: cvs"),
            ("[[email]]", "[[emial]]"),
            ("credit: decimal", "credit: {type: decimal, sclae: 2}"),
            ("key: id, ", ""),
            ("email: email}", "emial: email}"),
            ("key: No", "key: No, where: 'sum(x) > 1'"),
        )
    )
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)
    told = "\n".join(map(str, found))
    for words in ("`pth`", "`cvs`", "match of customer", "`sclae`", "`key` is missing", "in mapping crm", "sum()"):
        assert words in told
    assert len(found) == 7


CASES = [
    # systems
    (base(("connector: sqlite", "connector: sqlit")), 2, "unknown connector `sqlit`: did you mean `sqlite`?"),
    (base(("connector: sqlite, ", "")), 2, "`connector` is missing"),
    (base((", path: crm.db", "")), 2, "`path` is missing in system crm"),
    (base(("path: crm.db", "path: crm.db, patth: x")), 2, "unknown setting `patth` in system crm: did you mean `path`?"),
    (base(("path: crm.db", "path: [a]")), 2, "`path` must be text"),
    (address("postgresql://app:se@cret@db.example.org/crm"), 2, "where the password ends and the host begins"),
    (address("mysql://app:se/cret@db.example.org/crm"), 2, "where the password ends and the host begins"),
    (base(("crm.db}", "crm.db, timezone: Europe/Londn}")), 2, "unknown time zone `Europe/Londn`: did you mean `Europe/London`?"),
    (base(("crm.db}", "crm.db, paused: perhaps}")), 2, "`paused` must be true or false"),
    (base(("crm.db}", "crm.db, settle: 5}")), 2, "`5` has no unit"),
    (base(("crm.db}", "crm.db, limits: {rows_per_s: 0}}")), 2, "`rows_per_s` must be greater than 0"),
    (base(("crm.db}", "crm.db, limits: {rows: 1}}")), 2, "unknown setting `rows` in `limits`"),
    (base(("crm.db}", "crm.db, limits: {not_between: ['9:00']}}")), 2, "two times of day"),
    (base(("crm.db}", "crm.db, limits: {not_between: ['9:00', '24:00']}}")), 2, "not a time of day"),
    (base(("crm.db}", "crm.db, was: sheet}")), 2, "`sheet` is still a system"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: hmac, header: X}}}")), 2, "`secret` is missing"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: tokn}}}")), 2, "did you mean `token`?"),
    (base(("crm.db}", "crm.db, webhook: {event: {}}}")), 2, "`verify` is missing"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: standard, secret: 'no base64!'}}}")), 2, "no secret of Standard Webhooks"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: standard, secret: whpk_AAAA}}}")), 2, "no secret of Standard Webhooks"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: ed25519, header: X}}}")), 2, "`public_key` is missing"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: ed25519, header: X, public_key: abc}}}")), 2, "no public key of Ed25519"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: token, header: X, secret: s}, reply: {challenge: word}}}")), 2, "challenge"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: hmac, secret: s, header: X, message: '${bdy}'}}}")), 2, "did you mean `body`?"),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: hmac, secret: s, header: X, timestamp: {}}}}")), 2, "where the time stands"),
    (
        base(("crm.db}", "crm.db, webhook: {verify: {kind: hmac, secret: s, header: X, timestamp: {field: t}}}}")),
        2,
        "no field of it is named as the signature",
    ),
    (base(("crm.db}", "crm.db, webhook: {verify: {kind: token, header: X, secret: []}}}")), 2, "a list of names is expected"),
    (base(("  crm: {", "  c m: {")), 2, "`c m` cannot name a system"),
    (base(("name: text", "name: text, name: text")), 7, "`name` is given twice"),
    (f"stat: x\n{BASE}", 1, "unknown setting `stat`: did you mean `state`?"),
    (f"state: mysql://x\n{BASE}", 1, "neither a file nor a postgresql:// address"),
    (base(("  customer:", "  9customer:")), 5, "cannot name an entity"),
    # match, precedence
    (base(("[[email]]", "[email]")), 6, "a match rule is a list of fields"),
    (base(("[[email]]", "[[emial]]")), 6, "unknown field `emial` in match of customer: did you mean `email`?"),
    (base(("[[email]]", "[[tags]]")), 6, "type list is no identity"),
    (base(("[[email]]", "[[email], [email]]")), 6, "given twice"),
    (entity("precedence: [crn]"), 11, "unknown system `crn` in precedence of customer: did you mean `crm`?"),
    (entity("precedence: [crm, crm]"), 11, "given twice"),
    # fields
    (field("x", "{type: txt}"), 7, "`txt` is not known here: did you mean `text`?"),
    (field("x", "{typ: text}"), 7, "unknown setting `typ` in `x`: did you mean `type`?"),
    (field("x-y", "text"), 7, "cannot name a field"),
    (field("golden", "text"), 7, "rules use this name"),
    (field("Name", "text"), 7, "differ only in upper and lower case"),
    (field("x", "{was: name}"), 7, "`name` is still a field"),
    (field("x", "{was: o}, y: {was: o}"), 7, "`x` was `o` too"),
    (field("x", "{type: text, scale: 2}"), 7, "`scale` does not fit a field of type text"),
    (field("x", "{type: decimal, scale: 13}"), 7, "`scale` must be less than or equal to 12"),
    (field("x", "{type: integer, pattern: a}"), 7, "`pattern` does not fit"),
    (field("x", "{pattern: '(['}"), 7, "not a regular expression"),
    (field("x", "{pattern: '(?=a)'}"), 7, "not a regular expression"),
    (field("x", "{type: boolean, min: 1}"), 7, "`min` does not fit"),
    (field("x", "{type: integer, min: a}"), 7, "not a whole number"),
    (field("x", "{type: integer, min: 5, max: 4}"), 7, "`max` is smaller than `min`"),
    (field("x", "{type: date, max: 31.12.2020}"), 7, "not a date"),
    (field("x", "{one_of: []}"), 7, "`one_of` is empty"),
    (field("x", "{one_of: [true]}"), 7, "put it in quotes"),
    (field("x", "{one_of: [a, a]}"), 7, "names `a` twice"),
    (field("x", "{type: integer, one_of: [b]}"), 7, "not a whole number"),
    (field("x", "{clean: [trm]}"), 7, "unknown cleaning step `trm`: did you mean `trim`?"),
    (field("x", "{clean: [{trim: 1}]}"), 7, "takes no argument"),
    (field("x", "{clean: [phone]}"), 7, "needs an argument"),
    (field("x", "{type: integer, clean: [trim]}"), 7, "does not apply to"),
    (field("x", "{write_back: true}"), 7, "`write_back` without `clean`"),
    (field("x", "{type: date, clean: [{date: dmy}], write_back: true}"), 7, "`write_back` does not fit a field of type date"),
    (field("x", "{clean: [{null_if: []}]}"), 7, "must not be empty"),
    (field("x", '{clean: [{null_if: ["a|b"]}]}'), 7, "must not be empty, or hold |"),
    (field("x", "{clean: [{date: ddmm}]}"), 7, "dmy, mdy or ymd"),
    (field("x", "{clean: [{money: much}]}"), 7, "cannot read the number format"),
    (field("x", "{clean: [{postcode: ZZ}]}"), 7, "does not know the postcodes of 'ZZ'"),
    (field("x", "{type: reference}"), 7, "must say which entity"),
    (field("x", "{type: reference, entity: custmer}"), 7, "unknown entity `custmer` in a reference: did you mean `customer`?"),
    (field("x", "{entity: customer}"), 7, "`entity` does not fit a field of type text"),
    # owners and rules
    (field("x", "{source_of_truth: crn}"), 7, "unknown system `crn` in source_of_truth: did you mean `crm`?"),
    (field("x", "{source_of_truth: crm}"), 7, "its mapping does not map this field"),
    (base(("name: text", "name: {source_of_truth: crm}"), ("key: id", "key: id, direction: write")), 7, "its direction is write"),
    (base(("name: text", "name: {source_of_truth: crm, conflict: manual}")), 7, "`conflict` cannot stand beside it"),
    (
        base(("name: text", "name: {source_of_truth: crm}"), ("{name: name,", "{name: {write: {n: name}},")),
        7,
        "only writes, and never reads,",
    ),
    (entity("source_of_truth: shet"), 11, "unknown system `shet` in source_of_truth: did you mean `sheet`?"),
    (field("x", "{conflict: last_writes_win}"), 7, "unknown conflict rule `last_writes_win`: did you mean `last_write_wins`?"),
    (field("x", "{conflict: {merge: ad}}"), 7, "unknown merge `ad`: did you mean `add`?"),
    (field("x", "{conflict: {merge: add}}"), 7, "`merge: add` does not fit a field of type text"),
    (field("x", "{type: decimal, conflict: {merge: union}}"), 7, "`merge: union` does not fit"),
    (field("x", "{type: integer, conflict: {merge: text}}"), 7, "`merge: text` does not fit"),
    (field("x", "{type: json, conflict: {merge: max}}"), 7, "`merge: max` does not fit"),
    (field("x", "{conflict: {rule: 'max(incoming)'}}"), 7, "max() in 'max(incoming)' is not allowed"),
    (field("x", "{conflict: {rule: 'now()'}}"), 7, "now() in 'now()' is not allowed"),
    (field("x", "{conflict: {rule: 'incomming'}}"), 7, "unknown name `incomming` in this expression: did you mean `incoming`?"),
    (field("x", "{hold_if: 'incoming < bas'}"), 7, "unknown name `bas` in this expression: did you mean `base`?"),
    (field("x", "{hold_if: 'incoming <'}"), 7, "cannot read the expression"),
    # mappings
    (base(("      sheet: {", "      shet: {")), 10, "unknown system `shet` in the mappings of customer: did you mean `sheet`?"),
    (base(("object: contacts, ", "")), 9, "`object` is missing"),
    (base(("key: id, ", "")), 9, "`key` is missing in `crm`"),
    (base(("object: contacts", "object: {sql: 'DELETE FROM x'}")), 9, "must be a SELECT"),
    (base(("object: contacts", "object: {sql: SELECT 1}, direction: write")), 9, "a query is only read"),
    (sheet("object: {sql: SELECT 1}"), 10, "a query cannot be an object of a system of kind file"),
    (base(("key: id", "key: id, header_row: 2")), 9, "`header_row` is for files"),
    (sheet("header_row: 0"), 10, "`header_row` must be greater than or equal to 1"),
    (sheet("direction: bth"), 10, "`bth` is not known here: did you mean `both`?"),
    (sheet("empty: txt"), 10, "`txt` is not known here: did you mean `text`?"),
    (sheet("where: 'a = 1; DROP TABLE x'"), 10, "cannot read"),
    (sheet("where: 'row_number() over () = 1'"), 10, "is not allowed"),
    (sheet("set: {Name: x}"), 10, "already written by the field name"),
    (sheet("set: {No: x}"), 10, "the key `No` cannot be the same in every new row"),
    (sheet("direction: read, set: {a: 1}"), 10, "`set` has no effect"),
    (base(("key: No", "key: {column: No, assign: sequnce}")), 10, "did you mean `sequence`?"),
    (base(("key: No", "key: {column: No, assign: system}")), 10, "a file gives no keys"),
    (base(("key: No", "key: {column: [a, b], assign: uuid}")), 10, "cannot fill a key of 2 columns"),
    (base(("key: No", "key: {column: [a, b], assign: name}")), 10, "2 columns and `assign` names 1 fields"),
    (base(("key: No", "key: {colum: No}")), 10, "did you mean `column`?"),
    (base(("key: No", "key: []")), 10, "a list of names is expected"),
    (base(("key: No", "key: true")), 10, "without quotes is a boolean"),
    (crm("{}"), 9, "`fields` is empty"),
    (crm("{name: name, email: }"), 9, "`email` is empty"),
    (crm("{name: name, email: {}}"), 9, "`email` names no column"),
    (crm("{name: name, email: {column: a, read: b}}"), 9, "has a column and read"),
    (crm("{name: x, email: x}"), 9, "the column `x` is written by name and email"),
    (crm("{name: x, email: {read: lower(a), values: {a: b}}}"), 9, "`values` goes with a column"),
    (crm("{name: x, email: {read: lowr(a)}}"), 9, "lowr() in 'lowr(a)' is not allowed"),
    (crm("{name: x, email: {read: a, write: {b: emial}}}"), 9, "unknown name `emial` in this expression: did you mean `email`?"),
    (crm("{name: x, email: e, credit: {column: c, format: '#,##0'}}"), 9, "cannot read the number format"),
    (crm("{name: x, email: {column: c, format: '1,234'}}"), 9, "a text field takes no format"),
    (crm("{name: x, email: {column: c, separator: ','}}"), 9, "`separator` does not fit"),
    (crm("{name: x, email: e, status: {column: s, values: {active: A, clsed: C}}}"), 9, "did you mean `closed`?"),
    (crm("{name: x, email: e, status: {column: s, values: {active: A, closed: A}}}"), 9, "stand for the same native value"),
    (crm("{name: x, email: e, status: {column: s, values: {active: 1, closed: '1'}}}"), 9, "stand for the same native value"),
    (crm("{name: x, email: e, status: {column: s, values: {active: A, closed: }}}"), 9, "stands for empty"),
    # the rest of an entity
    (entity("deletes: {action: propagate}"), 11, "`from` is missing in deletes"),
    (entity("deletes: {from: [crn], action: propagate}"), 11, "unknown system `crn` in deletes of customer: did you mean `crm`?"),
    (entity("deletes: {from: [crm], action: propagte}"), 11, "did you mean `propagate`?"),
    (entity("deletes: {from: [crm], action: archive}"), 11, "`set` is missing in deletes"),
    (entity("deletes: {from: [crm], action: archive, set: {stats: x}}"), 11, "did you mean `status`?"),
    (entity("deletes: {from: [crm], action: archive, set: {status: x}}"), 11, "none of the values that status may have"),
    (entity("deletes: {from: [crm], action: archive, set: {credit: x}}"), 11, "not a decimal number"),
    (entity("deletes: {from: [crm], action: ignore, set: {name: x}}"), 11, "`set` does not go with action ignore"),
    (entity("guard: {deletes: 5}"), 11, "a share lies between 0 and 1"),
    (entity("guard: {deletes: lots}"), 11, "not a share of the rows"),
    (entity("guard: {at_least: -1}"), 11, "`at_least` must be greater than or equal to 0"),
    (entity("guard: of"), 11, "`guard` is text"),
    (entity("full: {every: 1}"), 11, "`1` has no unit"),
    (entity("full: 1d"), 11, "`full` must be a mapping"),
    (entity("max_delay: 2 minutes"), 11, "not a duration"),
    (entity("max_delay: 0s"), 11, "longer than nothing"),
    (entity("when: realtime"), 11, "`when` must be a list"),
    (entity("when: [realtme]"), 11, "`realtme` is no schedule"),
    (entity("when: [{every: 15}]"), 11, "`15` has no unit"),
    (entity("when: [{every: 15m, at: '02:00'}]"), 11, "exactly one of every, at, cron"),
    (entity("when: [{at: '25:00'}]"), 11, "not a time of day"),
    (entity("when: [{at: '02:00', days: mon-fry}]"), 11, "no day of the week"),
    (entity("when: [{at: '02:00', tz: UTC}]"), 11, "unknown setting `tz` in a schedule with at"),
    (entity("when: [{cron: '* * *'}]"), 11, "five fields"),
    (entity("when: [{cron: '61 * * * *'}]"), 11, "not a cron expression"),
    (entity("when: [{cron: '0 0 30 2 *'}]"), 11, "not a cron expression: Bad day-of-month"),
    (entity("when: [{cron: '* * * * *', timezone: Mars}]"), 11, "unknown time zone `Mars`"),
    (entity("triggers: {events: [creatd]}"), 11, "did you mean `created`?"),
    (entity("triggers: {fields: [emial]}"), 11, "unknown field `emial` in triggers of customer: did you mean `email`?"),
]


@pytest.mark.parametrize(("text", "line", "words"), CASES, ids=[words for _, _, words in CASES])
def test_what_is_wrong_is_told_once_at_its_line(problems, text, line, words):
    [problem] = problems(text)
    assert words in problem.message
    assert problem.line == line
    assert problem.path


def test_a_reference_needs_its_target_in_the_same_system(problems):
    text = BASE + (
        "  order:\n    fields: {number: text, customer: {type: reference, entity: customer}}\n    mappings:\n"
        "      crm: {object: o, key: id, fields: {number: n, customer: c}}\n"
        "      till: {object: o, key: id, fields: {number: n, customer: c}}\n"
    )
    [problem] = problems(text.replace("entities:", "  till: {connector: sqlite, path: t.db}\nentities:", 1))
    assert problem.path == "entities.order.mappings.till.fields.customer"
    assert "customer, which has no mapping in till" in problem.message


def test_an_expression_that_would_overflow_the_reader_is_refused(problems):
    [problem] = problems(sheet(f"where: '{'+'.join(['a'] * 20_000)} = 1'"))
    assert "at most 10,000 characters" in problem.message


def test_one_wrong_thing_does_not_make_others_look_wrong(problems):
    """A field or system that could not be read is not called unknown where it is used."""
    [problem] = problems(
        base(
            ("email: text", "email: {typ: text, hold_if: 'incoming = name'}"),
            ("status: {one_of", "status: {hold_if: 'email = name', one_of"),
        )
    )
    assert "`typ`" in problem.message
    [problem] = problems(base(("path: customers.csv", "path: '${PLACE}'")))
    assert "`PLACE`" in problem.message
    [problem] = problems(base(("crm: {connector: sqlite", "crm: {connector: 3, timezone: UTC")))
    assert "connector" in problem.path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"# nothing\n", "empty"),
        (b"- a\n", "must be a mapping"),
        (b"42", "must be a mapping"),
        (b"systems: []\n", "must be a mapping"),
        (b"entities: {}\n", "`systems` is missing"),
        (b"systems: {}\n", "`systems` is empty"),
        (b"a: \xff\n", "UTF-8"),
        (b"a:\n\t- b", "tab"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content, words):
    (tmp_path / "trueup.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "trueup.yaml", {})


def test_a_missing_file_and_a_folder(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "nowhere.yaml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


def loads_or_tells(folder: Path, text: str) -> None:
    file = folder / "trueup.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        assert isinstance(load_config(file, {"A": "x"}), Config)


@given(text=st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_configuration_or_told_what_is_wrong(tmp_path: Path, text):
    loads_or_tells(tmp_path, text)


FULL = (
    (Path(__file__).parent / "assets" / "full.yaml")
    .read_text(encoding="utf-8")
    .replace("${CRM_URL}", "postgresql://h/d")
    .replace("${BILLING_URL}", "mysql://h/d")
)
TOKENS = st.sampled_from(
    [
        "{}",
        "[]",
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "off",
        "x",
        "''",
        "'${A}'",
        "'${B}'",
        "[[a]]",
        "{a: b}",
        "{a: [b, {c: 1}]}",
        "&a [*a]",
        "!!x y",
        "5%",
        "1d",
        "!!int x",
        "- a",
        ":",
        "\t",
        "1e400",
    ]
)


@given(data=st.data())
@settings(max_examples=settings().max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_example_with_any_value_replaced_is_a_configuration_or_told_what_is_wrong(tmp_path: Path, data):
    """Replace the value after a random colon, comma or bracket of the example by something else, a few times."""
    text = FULL
    for _ in range(data.draw(st.integers(1, 3))):
        places = [number for number, char in enumerate(text) if char in ":,[{"]
        at = data.draw(st.sampled_from(places)) + 1
        end = min([number for number in (text.find(stop, at) for stop in ",]}\n") if number >= 0], default=len(text))
        text = f"{text[:at]} {data.draw(TOKENS)}{text[end:]}"
    loads_or_tells(tmp_path, text)


@pytest.mark.parametrize(
    "url",
    ["postgresql://db.example.org:5432/crm", "postgresql://app@db.example.org/crm?host=/run/a@b", "mysql://app:se%40cret@db.example.org:3306/crm",
     "postgresql://app:4711@db.example.org/crm", "mysql:///crm?unix_socket=/run/mysqld.sock"],
)  # fmt: skip
def test_an_address_that_can_be_told_apart_is_no_problem(load, url):
    assert load(address(url)).systems["crm"].settings["url"] == url
