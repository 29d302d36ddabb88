"""A company in which every queue holds something, so that each command's JSON shows all of its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.system.cli.tool import CONFIG, Project, company

COMMANDS = (
    "decide --answers answers.yaml", "profile old=old.db",
    "init crm=crm.db sheet=customers.csv --into proposed", "drift",
    "dedupe customer --threshold 0.8", "connect -c web.yaml", "grants crm", "check", "report --since 1d", "plan", "rehearse --weather calm",
    "sync", "status",
    "runs", "run 2", "record customer crm:1", "explain customer crm:1 name", "conflicts",
    "matches", "failures", "holds", "manual due", "manual done prices --minutes 40 --step 1=10", "manual review",
    "runbook by-hand", "verify", "undo 1 --plan",
    "export customer --to outbox", "import outbox -c office.yaml", "packages -c office.yaml",
    "pause sheet", "resume sheet", "audit --kind configuration", "audit verify", "doctor",
    "sql 'SELECT id, name FROM customer'", "secrets set SHOP_PASSWORD", "secrets", "secrets rotate",
    "secrets remove SHOP_PASSWORD", "keys", "keys new --print", "keys rotate", "backup kept.trueup --encrypt", "restore kept.trueup",
    "compact", "rebuild --replace",
)  # fmt: skip
"""The commands with a form of their own, as `trueup --help` lists them; those that exchange the state go last."""
SAID = {"secrets set SHOP_PASSWORD": "correct horse"}
"""What stands on the stdin of a command."""

PEOPLE = [
    (1, "Ada", "ada@example.com", "10.5"),
    (2, "Ben", "ben@example.com", None),
    (3, "Cy", "cy@example.com", "3"),
    (4, "Cy again", "cy@example.com", "3"),
    *[(number, f"Number {number}", f"n{number}@example.com", "1") for number in range(5, 31)],
    (31, "Lena Fairweather", "lena.fairweather@example.com", "1"),
    (32, "Lena Fairweathr", "lena.fairwether@example.com", "2"),
    (33, "Otis Marlowe", "otis.marlowe@example.com", "1"),
    (34, "Otis Marlow", "otis.marlowe@example.org", "1"),
]
SHEET = """\
No,Name,E-mail,Credit
001,Ada,ada@example.com,10.5
002,Ben,ben@example.com,7
003,Cy,cy@example.com,lots
004,Dot,dot@example.com,1
"""

BY_HAND = """\
manual:
  prices: {every: 7d, owner: Office manager, steps: [Print the list, {do: Type each price, paste: "Till, Prices", minutes: 30}]}
"""

ANSWERS = """\
records:
  leads: &usual
    {frequency: real-time, delay: seconds, error_cost: high, people: 12, systems: 2, ownership: clear, quality: clean, maintenance: true}
  offices: {<<: *usual, frequency: hourly, delay: hours, error_cost: low}
"""


OFFICE = """\
state: office.db
systems:
  sales: {connector: jsonl, path: received}
  list:  {connector: csv, path: list.csv}
entities:
  customer:
    match: [[email]]
    source_of_truth: sales
    fields: {email: text, credit: decimal}
    mappings:
      sales: {object: customer.jsonl, key: trueup_id, direction: read, create: true, fields: {email: email, credit: credit}}
      list:  {key: E-mail, create: true, fields: {email: E-mail, credit: Credit}}
packages:
  from-sales: {import: customer, from: outbox, system: sales}
"""


WEB = """\
state: web.db
systems:
  shop: {connector: rest, file: shop.yaml, oauth2: {client_id: trueup}}
"""
SHOP = """\
connector: shop
auth: {kind: oauth2, authorize_url: "https://shop.example.com/authorize", token_url: "https://shop.example.com/token", scopes: [read]}
http: {base_url: "https://shop.example.com"}
objects:
  buyers: {key: /id, read: {full: {get: /buyers, items: /data}}}
"""


def old_shop(project: Project) -> None:
    """A database in which something of every kind is untidy."""
    project.sql("CREATE TABLE buyers (id INTEGER PRIMARY KEY, mail TEXT, spent INTEGER, updated_at TEXT)", database="old.db")
    project.sql("CREATE TABLE visits (buyer_id INTEGER, nights INTEGER)", database="old.db")
    far = "2999-01-01T00:00:00Z"
    for number in range(1, 31):
        mail = {1: " ", 2: "n/a", 3: "P4@EXAMPLE.com ", 5: "p6@example.com", 7: None, 8: "nobody"}.get(number, f"p{number}@example.com")
        row = (number, mail, 9999 if number == 9 else number, far)
        project.sql("INSERT INTO buyers VALUES (?, ?, ?, ?)", row, database="old.db")
        project.sql("INSERT INTO visits VALUES (?, ?)", (number + (number > 28), 2), database="old.db")
    project.sql("INSERT INTO visits VALUES (5, 'two')", database="old.db")


def busy_company(folder: Path) -> Project:
    """Two runs behind it: a conflict, a row that cannot be read, a parked twin, a held mass of edits, and edits since."""
    begin = "retention: {history: 400d}\nmaster_key: {file: master.key}\n" + BY_HAND
    project = company(folder, begin + CONFIG.replace("    precedence: [crm, sheet]\n", ""), SHEET, PEOPLE)
    project.write("answers.yaml", ANSWERS)
    project.write("office.yaml", OFFICE)
    project.write("web.yaml", WEB)
    project.write("shop.yaml", SHOP)
    (folder / "outbox").mkdir()
    old_shop(project)
    project.trueup("keys", "new").expect(0)
    project.trueup("sync").expect(3)
    project.sql("UPDATE contacts SET name = 'Ada One' WHERE id = 1")
    project.write("customers.csv", project.read("customers.csv").replace("001,Ada,", "001,Ada Two,"))
    project.trueup("sync").expect(3)
    project.sql("UPDATE contacts SET credit = 2 WHERE id > 4")
    project.write("customers.csv", project.read("customers.csv").replace("002,Ben,ben@example.com,7", "002,Ben,ben@example.com,8"))
    return project


def shape(value: Any) -> Any:
    """What programs rely on: the names of the parts, and of a list the parts that its items have together; of a value nothing."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        together: Any = None
        for part in map(shape, value):
            together = _together(together, part)
        return [] if together is None else [together]
    return None


def _together(one: Any, other: Any) -> Any:
    """The parts of both."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _together(one.get(name), other.get(name)) for name in one | other}
    if isinstance(one, list) and isinstance(other, list) and one and other:
        return [_together(one[0], other[0])]
    return other if one in (None, []) else one


def documented(text: str) -> dict[str, Any]:
    """The examples of the page: command -> what it prints."""
    found = {}
    for section in text.split("\n## `trueup ")[1:]:
        name, _, rest = section.partition(" --json`\n")
        found[name] = json.loads(rest.split("```json\n")[1].split("\n```")[0])
    return found
