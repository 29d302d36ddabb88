"""The whole way of somebody who has never used the command line after `trueup serve`: from the link to a run that is undone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsers import LIMIT_MS, chromium
from tests.oauth_server import CLIENT, SECRET, OAuthServer
from tests.system.cli.tool import Project
from tests.system.web.test_dashboard import PASSWORD, PHONE, faults, served, set_up
from trueup.config.load import load_config
from trueup.testing.rest_service import RestService

pytestmark = pytest.mark.slow

AS_IN_THE_SHOP = re.compile("Take the value of (shop|the agreed record)")  # agreed already, where a run began between the two edits
SHOP = "No,Name,E-mail,Credit\n" + "".join(f"{n},Person {n},p{n}@example.org,{n}.50\n" for n in range(1, 31))
SHEET = "Id;Full name;Email;Credit\n" + "".join(f"{n + 100};Person {n};p{n}@example.org;{n},50\n" for n in range(5, 36))

DIRECTORY = """\
connector: directory
auth:
  kind: oauth2
  token_url: "{url}/token"
  authorize_url: "{url}/authorize"
  client_id: "${{secrets.client_id}}"
  client_secret: "${{secrets.client_secret}}"
  scopes: [read, write]
http: {{base_url: "{service}"}}
objects:
  contacts:
    key: /id
    envelope: /attributes
    read:
      full: {{get: /contacts, items: /data, page: {{style: cursor, from: /next, to: query.cursor}}}}
"""
WITH_ACCESS = """\
master_key: {{file: master.key}}
systems:
  crm: {{connector: rest, file: directory.yaml, secrets: {{client_id: {client}, client_secret: "${{secret:CLIENT_SECRET}}"}}}}
  shop: {{connector: csv, path: shop.csv}}
entities:
  customer:
    match: [[email]]
    fields: {{name: {{}}, email: {{}}}}
    mappings:
      crm: {{object: contacts, key: id, direction: read, fields: {{name: name, email: email}}}}
      shop: {{key: "No", fields: {{name: Name, email: E-mail}}}}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with two files of customers and no configuration."""
    made = Project(tmp_path)
    made.write("shop.csv", SHOP)
    made.write("sheet.csv", SHEET)
    return made


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).first.click()


def said(page: Page, text: str) -> None:
    expect(page.locator(".said")).to_contain_text(text, timeout=LIMIT_MS)


def connected(page: Page, name: str, address: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Address").fill(address)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible(timeout=LIMIT_MS)


def test_from_the_link_to_a_run_that_is_undone(browser: Browser, project: Project) -> None:  # noqa: PLR0915  one way, from its begin to its end
    with served(project) as (at, link):
        page = browser.new_context(viewport={"width": 1600, "height": 1000}, locale="en-GB", timezone_id="Europe/London").new_page()
        page.set_default_timeout(LIMIT_MS)
        set_up(page, link, "ada")

        # The checklist, whose reasoning follows each answer.
        page.get_by_role("link", name="Checklist").click()
        page.get_by_label("How often must such records move?").select_option("real-time")
        expect(page.get_by_text("Two answers do not go together")).to_be_visible()
        page.get_by_label("how long may the other systems go without it?").select_option("seconds")
        page.get_by_label("What does a wrong or lost record cost?").select_option("high")
        expect(page.locator(".verdict")).to_contain_text("Immediate sync")
        assert faults(page) == []
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="On one page, to print").click()
        expect(opened.value.locator("h1")).to_have_text("How to keep these records together")
        opened.value.close()
        page.get_by_label("Who owns them?").select_option("duplicated")
        page.get_by_label("how long may the other systems go without it?").select_option("minutes")
        press(page, "Use these answers")

        # Two systems; what cannot be connected is told.
        page.wait_for_url("**/project")
        page.get_by_label("Name", exact=True).fill("shop")
        page.get_by_label("Address").fill("postgresql://me:hidden-word@127.0.0.1:1/shop")
        press(page, "Connect")
        expect(page.locator(".said .bad-news")).to_be_visible(timeout=LIMIT_MS)
        assert "hidden-word" not in page.locator(".said").inner_text()
        connected(page, "shop", "shop.csv")
        connected(page, "sheet", "sheet.csv")
        assert faults(page) == []

        # Records and fields, with their values.
        press(page, "Go on")
        expect(page.get_by_text("p5@example.org").first).to_be_visible(timeout=LIMIT_MS)
        assert faults(page) == []
        called = page.get_by_label("What are they called?")
        called.fill("customer")
        called.press("Enter")
        page.get_by_label("credit: type").select_option("integer")
        expect(page.get_by_text("are no integer")).to_have_count(2)
        page.get_by_label("credit: type").select_option("decimal")
        page.get_by_label("name: who wins").select_option("")
        press(page, "Go on")

        # What would come of it, before anything is saved.
        expect(page.get_by_text("9 rows would be written, and none has been.")).to_be_visible(timeout=LIMIT_MS)
        assert faults(page) == []
        assert project.files() & {"trueup.yaml", "trueup.proposed.yaml"} == set()
        assert project.read("shop.csv") == SHOP
        press(page, "Save it")
        page.wait_for_url("**/begin")
        expect(page.get_by_role("heading", name="1. Only look")).to_be_visible(timeout=LIMIT_MS)
        assert set(load_config(project.folder / "trueup.yaml").entities) == {"customer"}

        # Looking, a few, everything.
        press(page, "Read, and write nothing")
        said(page, "nothing was written to any of them")
        assert (project.read("shop.csv"), project.read("sheet.csv")) == (SHOP, SHEET)
        page.get_by_label("Rows per system").fill("2")
        press(page, "Write a few")
        said(page, "At most 2 rows were written")
        assert len(project.read("sheet.csv").splitlines()) == len(SHEET.splitlines()) + 2
        assert faults(page) == []
        press(page, "Write everything")
        said(page, "Done.")
        assert "p35@example.org" in project.read("shop.csv")
        assert "p1@example.org" in project.read("sheet.csv")

        # Two people change the same name: a conflict, settled here, and undone.
        project.write("shop.csv", project.read("shop.csv").replace("Person 9,", "Petra 9,"))
        project.write("sheet.csv", project.read("sheet.csv").replace("Person 9;", "Peter 9;"))
        page.goto(f"{at}/conflicts")
        expect(page.get_by_text("Petra 9").first).to_be_visible(timeout=LIMIT_MS)
        page.get_by_role("button", name=AS_IN_THE_SHOP).first.click()
        said(page, "Settled")
        page.goto(f"{at}/project/begin")
        press(page, "Write everything")
        said(page, "Done.")
        expect(page.get_by_role("link", name=re.compile("value by value"))).to_be_visible(timeout=LIMIT_MS)
        assert "Petra 9" in project.read("sheet.csv")

        # A change that should not have been: the run that carried it is undone.
        project.write("shop.csv", project.read("shop.csv").replace("Person 12,", "Paula 12,"))
        page.goto(f"{at}/project/begin")
        press(page, "Write everything")
        said(page, "Done.")
        wait_for(page, lambda: "Paula 12" in project.read("sheet.csv"))
        shown_run(page, at, "Paula 12")
        press(page, "Undo this run")
        press(page, "Undo it")
        wait_for(page, lambda: "Person 12;" in project.read("sheet.csv") and "Person 12," in project.read("shop.csv"))
        expect(page.locator(".said .panel")).to_be_visible(timeout=LIMIT_MS)
        assert "Petra 9" in project.read("sheet.csv")


def test_somebody_is_let_in_and_a_key_is_made_and_revoked(browser: Browser, project: Project) -> None:
    with served(project) as (at, link):
        page = browser.new_context().new_page()
        page.set_default_timeout(LIMIT_MS)
        set_up(page, link, "ada")
        page.goto(f"{at}/people")
        page.get_by_label("Let somebody in: name").fill("ben")
        page.get_by_label("with the role").select_option("reviewer")
        press(page, "Make a link")
        shown = page.locator("a.whole")
        expect(shown).to_contain_text(f"{at}/setup?token=", timeout=LIMIT_MS)
        other = browser.new_context().new_page()
        other.set_default_timeout(LIMIT_MS)
        set_up(other, shown.inner_text(), None)
        page.get_by_label("ben is").select_option("viewer")
        said(page, "ben is viewer from now on.")
        assert faults(page) == []

        other.goto(f"{at}/people")
        assert other.get_by_label("Let somebody in: name").count() == 0
        other.get_by_label("A key for a program: what for").fill("a display")
        press(other, "Make a key")
        key = other.locator(".heed code").inner_text()
        asked = other.request.get(f"{at}/api/v1/me", headers={"Authorization": f"Bearer {key}"})
        assert (asked.status, asked.json()["name"]) == (200, "ben")
        press(other, "Revoke a display")
        said(other, "Revoked.")
        assert other.request.get(f"{at}/api/v1/me", headers={"Authorization": f"Bearer {key}"}).status == 401

        press(page, "Let ada in no more")
        said(page, "ada is the only admin")


def shown_run(page: Page, at: str, words: str) -> None:
    """Turn to the run that changed a value."""
    page.goto(f"{at}/runs")
    expect(page.locator("h1")).to_have_text("Runs", timeout=LIMIT_MS)
    expect(page.locator("tbody tr").first).to_be_visible(timeout=LIMIT_MS)
    for number in page.locator("tbody tr td:first-child a").all_inner_texts():
        page.goto(f"{at}/runs/{number}")
        expect(page.locator("h1")).to_have_text(f"Run {number}", timeout=LIMIT_MS)
        expect(page.get_by_role("heading", name="What changed")).to_be_visible(timeout=LIMIT_MS)
        if page.get_by_text(words).count():
            return
    raise AssertionError(f"no run tells of {words}")


def test_a_rule_of_a_project_that_there_is_is_changed_with_a_look_first(browser: Browser, project: Project) -> None:
    text = """\
# what we keep together
systems:
  shop:  {connector: csv, path: shop.csv}
  sheet: {connector: csv, path: sheet.csv}
entities:
  customer:
    match: [[email]]
    fields:
      name: {}      # as it is on the door
      email: {}
    mappings:
      shop:  {key: "No", fields: {name: Name, email: E-mail}}
      sheet: {key: Id, fields: {name: Full name, email: Email}}
    when: [{every: 1h}]
"""
    project.write("trueup.yaml", text)
    with served(project) as (at, link):
        page = browser.new_context(viewport={"width": 400, "height": 850}, color_scheme="dark").new_page()
        page.set_default_timeout(LIMIT_MS)
        set_up(page, link, "ada")
        page.goto(f"{at}/project/fields")
        page.get_by_label("name: who wins").select_option("source: shop")
        said(page, "shop, always")
        press(page, "Go on")
        expect(page.locator("pre.diff")).to_contain_text(
            "+      name: {source_of_truth: shop}      # as it is on the door", timeout=LIMIT_MS
        )
        assert faults(page) == []
        assert project.read("trueup.yaml") == text
        press(page, "Save it")
        page.wait_for_url("**/begin")
        assert project.read("trueup.yaml") == text.replace("name: {}", "name: {source_of_truth: shop}")
        expect(page.get_by_role("heading", name="1. Only look")).to_be_visible(timeout=LIMIT_MS)
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

        # `serve` has taken it up by itself.
        log = project.folder / "serve.log"
        expect_in(log, "taken up as it is now", page)

        # Nobody but an admin sets up.
        said_by = project.trueup("users", "add", "vera", "--role", "operator").expect(0).out
        other = browser.new_context().new_page()
        other.set_default_timeout(LIMIT_MS)
        (token,) = re.findall(r"token=([\w-]+)", said_by)
        set_up(other, f"{at}/setup?token={token}", None)
        expect(other.get_by_text("Nothing was synced yet")).to_be_visible(timeout=LIMIT_MS)
        assert other.get_by_role("link", name="Set up").count() == 0
        other.goto(f"{at}/project/preview")
        expect(other.get_by_text("Setting up takes the role admin.")).to_be_visible(timeout=LIMIT_MS)
        assert PASSWORD not in other.content()


def wait_for(page: Page, holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(LIMIT_MS // 100):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come to that")


def test_access_to_an_application_is_given_on_a_page_of_it(browser: Browser, project: Project) -> None:
    with OAuthServer() as server, RestService() as service:
        service.make("contacts", key=("id",))
        project.write("directory.yaml", DIRECTORY.format(url=server.url, service=service.url))
        project.write("trueup.yaml", WITH_ACCESS.format(client=CLIENT))
        project.trueup("keys", "new").expect(0)
        project.trueup("secrets", "set", "CLIENT_SECRET", told="an older one\n").expect(0)
        with served(project) as (at, link):
            page = browser.new_context().new_page()
            page.set_default_timeout(LIMIT_MS)
            set_up(page, link, "ada")
            page.goto(f"{at}/project/systems")
            page.get_by_label("CLIENT_SECRET, for crm").fill(SECRET)
            press(page, "Keep CLIENT_SECRET sealed")
            said(page, "CLIENT_SECRET is kept sealed")
            assert faults(page) == []
            press(page, "Give access to crm")
            with page.context.expect_page() as opened:
                page.get_by_role("link", name="Open the page").click()
            opened.value.wait_for_load_state()
            said(page, "crm has let trueup in.")
            assert [one["grant_type"] for one in server.asked] == ["authorization_code"]
        assert SECRET not in project.read("trueup.yaml")
        assert "crm" in project.trueup("connect").expect(0).out


def expect_in(log: Path, words: str, page: Page) -> None:
    """Wait until the log says something."""
    for _ in range(LIMIT_MS // 100):
        if words in log.read_text(encoding="utf-8"):
            return
        page.wait_for_timeout(100)
    raise AssertionError(log.read_text(encoding="utf-8"))
