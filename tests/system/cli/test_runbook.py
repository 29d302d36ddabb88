"""Pages for people, from the configuration: whole, safe whatever names hold, and known to be out of date when they are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.system.cli.tool import Project
from trueup.config.load import load_config
from trueup.runtime.runbooks import runbooks

NASTY = "O'Neil & <script>alert(1)</script> `x` | *b* _i_ [l](http://x) # 🙂 שלום \\ end"
CONFIG = """\
runbooks: pages
manual:
  prices: {every: 7d, owner: Office, checked_by: Sales, what: prices, from: ERP, to: [shop], steps: [{do: Copy, paste: Till, minutes: 5}]}
systems:
  crm: {connector: sqlite, path: "${CRM_FILE}", owner: IT}
  shop:
    connector: sqlite
    path: shop.db
    webhook: {verify: {kind: token, header: X-Token, secret: "${HOOK_SECRET}"}, event: {key: /data/id}}
  sheet: {connector: csv, path: customers.csv}
entities:
  customer:
    match: [[email]]
    owner: Head of Sales
    max_delay: 2m
    when: [realtime, {every: 30m}]
    triggers: {events: [created], fields: [email]}
    deletes: {from: [crm], action: archive, set: {name: gone}}
    fields:
      email: {type: text}
      name: {type: text, source_of_truth: crm, owner: Sales desk}
      credit: {type: decimal, conflict: {rule: "greatest(incoming, golden)"}}
    mappings:
      crm: {object: contacts, key: id, fields: {email: email, name: {read: "a || b", write: {a: name}, owner: Data team}, credit: credit}}
      shop: {object: buyers, key: id, owner: Web team, fields: {email: mail, name: name}}
      sheet: {key: No, direction: read, fields: {email: E-mail, credit: Credit}}
  product:
    match: [[sku]]
    fields: {sku: text}
    mappings: {crm: {object: items, key: id, fields: {sku: sku}}, sheet: {key: SKU, fields: {sku: SKU}}}
"""
PAGES = {"by-hand-prices", "ownership-customer", "event-customer", "incident-crm-stops", "incident-shop-stops", "incident-sheet-stops",
         "incident-account-compromised"}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write("trueup.yaml", CONFIG)
    return made


def test_every_page_is_written_twice_and_listed(project: Project) -> None:
    told = project.trueup("runbook").expect(0).out
    assert "ownership-customer: customer: who changes what, and where" in told
    names = {name.removeprefix("pages/") for name in project.files() if name.startswith("pages/")}
    assert names == {f"{name}.{ending}" for name in PAGES | {"index"} for ending in ("md", "html")}
    index = project.read("pages/index.html")
    assert set(re.findall(r'href="([^"]+)"', index)) == {f"{name}.html" for name in PAGES}
    said = project.trueup("runbook", "ownership", "--json").expect(0).json
    assert [page["name"] for page in said["pages"]] == ["ownership-customer"]
    assert said["pages"][0]["from"][0] == "entities.customer"


def test_they_say_who_changes_what_where(project: Project) -> None:
    page = project.trueup("runbook", "ownership", "--print").expect(0).out
    name, credit = (next(line for line in page.splitlines() if line.startswith(f"| **{field}**")) for field in ("name", "credit"))
    assert name == "| **name** | **crm**: contacts | Sales desk | put back in shop |"
    assert credit == "| **credit** | crm, sheet | Head of Sales | a rule decides: `greatest(incoming, golden)` |"
    assert "computed: `a \\|\\| b`" in page
    assert "A record is deleted in crm; then it is archived everywhere." in page


def test_they_say_what_starts_a_pass_and_who_owns_the_schema(project: Project) -> None:
    page = project.trueup("runbook", "events", "--print").expect(0).out
    assert "records that are created, and of these only changes of email." in page
    assert "the next sweep: every 30 min." in page
    assert "within 2 min" in page
    assert "| **shop** | buyers | a webhook | Web team |" in page
    assert "| **crm** | name | computed: `a \\|\\| b` | Data team |" in page
    assert "| **shop** | `POST /hooks/shop` | token | key: `/data/id` | Head of Sales |" in page


def test_they_say_what_to_do_when_something_stops_or_is_stolen(project: Project) -> None:
    page = project.trueup("runbook", "incidents", "--print").expect(0).out
    assert "| **customer** | name | shop, sheet | 2 min | Head of Sales |" in page
    assert "`trueup pause crm`" in page
    assert "1. **Pause everything**: `trueup pause --all`" in page
    assert page.index("pause --all") < page.index("**Revoke**") < page.index("trueup resume SYSTEM")
    assert "| **crm** | sqlite | `CRM_FILE` | IT |" in page
    assert "| **shop** | sqlite | `HOOK_SECRET` |" in page


def test_the_manual_procedure_is_one_page(project: Project) -> None:
    page = project.trueup("runbook", "by-hand", "--print").expect(0).out
    parts = ("## Check points", "- [ ] ", "## Once a month", "trueup manual done prices --minutes N")
    for said in ("| Who does it | Office |", "| Who checks it | Sales |", "1. Copy. (5 min) Paste it here: **Till**.", *parts):
        assert said in page


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.said += data


def test_no_name_means_anything_but_itself(tmp_path: Path) -> None:
    """Owners, processes, steps, columns and rules with every sign of Markdown and HTML in them."""
    project = Project(tmp_path)
    quoted = '"' + NASTY.replace("\\", "\\\\").replace('"', '\\"') + '"'
    text = CONFIG.replace("owner: Head of Sales", f"owner: {quoted}").replace("steps: [{do: Copy,", f"steps: [{{do: {quoted},")
    text = (
        text.replace("  prices: {", f'  {quoted[:60]}": {{')
        .replace("owner: Web team", f"owner: {quoted}")
        .replace("credit: Credit", f"credit: {quoted}")
    )
    project.write("trueup.yaml", text)
    project.trueup("runbook").expect(0)
    pages = [Tags(project.read(name)) for name in project.files() if name.endswith(".html") and "index" not in name]
    assert len(pages) == len(PAGES)
    for page in pages:
        assert not {"script", "em", "img"} & set(page.tags)
        assert page.links == []
    assert sum(NASTY in page.said for page in pages) >= 5, "and it is readable"
    tables = [line for name in project.files() if name.endswith(".md") for line in project.read(name).splitlines() if line.startswith("|")]
    assert len(tables) > 20
    unescaped = re.compile(r"(?<!\\)\|")
    widths = {len(unescaped.findall(line)) for line in tables if "שלום" in line}
    assert widths <= {3, 5, 6}, "no bar of a name makes a cell of its own"


def stale(project: Project) -> set[str]:
    said = project.trueup("check", "--json", CRM_FILE="crm.db", HOOK_SECRET="x").json["warnings"]
    return {one["message"].split()[2] for one in said if one["path"] == "runbooks"}


def test_check_says_which_are_out_of_date(project: Project) -> None:
    assert stale(project) == PAGES, "all are missing"
    project.trueup("runbook").expect(0)
    assert stale(project) == set()
    project.write("trueup.yaml", CONFIG.replace("owner: Sales desk", "owner: Back office"))
    assert stale(project) == {"ownership-customer", "event-customer", "incident-crm-stops", "incident-shop-stops", "incident-sheet-stops"}
    project.write("trueup.yaml", CONFIG.replace("${HOOK_SECRET}", "${OTHER_SECRET}"))
    assert "incident-account-compromised" in {
        one["message"].split()[2]
        for one in project.trueup("check", "--json", CRM_FILE="crm.db", OTHER_SECRET="x").json["warnings"]
        if one["path"] == "runbooks"
    }
    project.write("trueup.yaml", CONFIG.replace("minutes: 5", "minutes: 6"))
    assert stale(project) == {"by-hand-prices"}
    project.write("trueup.yaml", CONFIG)
    (project.folder / "pages/ownership-customer.html").unlink()
    assert stale(project) == {"ownership-customer"}, "one of its two files is gone"


def test_what_is_configured_no_more_goes_and_what_is_not_ours_stays(project: Project) -> None:
    project.trueup("runbook").expect(0)
    project.write("pages/notes.md", "ours")
    project.write("trueup.yaml", re.sub(r"manual:\n.*\n", "", CONFIG))
    assert stale(project) == {"by-hand-prices"}
    assert "by-hand-prices: removed" in project.trueup("runbook").expect(0).out
    assert "pages/notes.md" in project.files()
    assert not {name for name in project.files() if "by-hand" in name}
    assert stale(project) == set()


CHANGES = [
    ("owner: IT", "owner: Desk"), ("owner: Head of Sales", "owner: CEO"), ("max_delay: 2m", "max_delay: 3m"), ("created]", "deleted]"),
    ("fields: [email]}", "fields: [name]}"), ("every: 30m", "every: 31m"), ("action: archive, set: {name: gone}", "action: ignore"),
    ("source_of_truth: crm", "source_of_truth: shop"), ("greatest", "least"), ("mail,", "post,"), ("object: buyers", "object: clients"),
    ("key: /data/id", "key: /id"), ("kind: token", "kind: hmac"), ("paste: Till", "paste: Shop"), ("every: 7d", "every: 8d"),
    ("what: prices", "what: all prices"), ("from: ERP", "from: list"), ("to: [shop]", "to: [till]"),
    ("checked_by: Sales", "checked_by: me"),
    ("owner: Data team", "owner: Someone"), ("owner: Web team", "owner: Someone"), ("direction: read", "direction: write"),
    ("connector: csv", "connector: jsonl"), ("${CRM_FILE}", "${ELSEWHERE}"), ("product:", "article:"),
    ("sheet: {connector", "list: {connector"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=[new for _, new in CHANGES])
def test_a_page_that_says_something_else_has_another_digest(tmp_path: Path, old: str, new: str) -> None:
    """Whatever a page is made from is among the parts of which it carries the digest."""
    assert old in CONFIG
    changed = CONFIG.replace(old, new)
    if new.startswith("list:"):
        changed = changed.replace("      sheet: {key: No", "      list: {key: No").replace(", sheet: {key: SKU", ", list: {key: SKU")
    found = []
    for text in (CONFIG, changed):
        (tmp_path / "trueup.yaml").write_text(text, encoding="utf-8")
        pages = runbooks(load_config(tmp_path / "trueup.yaml", {}, connects=False))
        found.append({page.name: page for page in pages})
    before, after = found
    other = [name for name in before.keys() & after.keys() if before[name].text != after[name].text]
    assert other or before.keys() != after.keys(), "the change changes a page"
    assert [name for name in other if before[name].digest == after[name].digest] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [("everything", "there is no kind of runbook 'everything'"), ("--out trueup.yaml/x", "cannot be written to")],
)
def test_what_cannot_be_is_said(project: Project, words: str, said: str) -> None:
    before = project.files()
    assert said in project.trueup("runbook", *words.split()).expect(2).err
    assert project.files() == before


def test_a_configuration_that_asks_for_none(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("trueup.yaml", re.sub(r"runbooks: .*\nmanual:\n.*\n", "", CONFIG))
    assert "asks for no page of the kind by-hand" in project.trueup("runbook", "by-hand").expect(0).out
    assert project.files() == {"trueup.yaml"}
