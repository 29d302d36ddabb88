"""The dashboard in a real browser, on a real server with a real state: each flow as a person goes through it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browsers import LIMIT_MS, chromium
from tests.docs.json_company import busy_company
from tests.system.cli.tool import Project, command, environment
from trueup.web.dashboard.pages import WAYS

pytestmark = pytest.mark.slow

PASSWORD = "eleven quiet lamps"
PHONE = {"width": 400, "height": 850}
DESK = {"width": 1600, "height": 1000}
NAUGHTY = (90, "<img src=x onerror=\"document.title='caught'\"><script>document.title='caught'</script>", "naughty@example.com", "1")
LARGE = (91, "long " * 200_000, "large@example.com", "2")
ODD = (92, "bell\x07 עברית\u202e ❤️ O'Neill", "odd@example.com", "3")


@contextmanager
def served(project: Project) -> Iterator[tuple[str, str]]:
    """`trueup serve` on a company: its address, and the link by which the first admin sets themselves up."""
    log = project.folder / "serve.log"
    with log.open("w") as stderr:
        running = subprocess.Popen(
            command("serve", "--port", "0"), cwd=project.folder, env=environment(), stderr=stderr, stdout=subprocess.DEVNULL
        )
    try:
        deadline = time.monotonic() + LIMIT_MS / 1000
        at = link = ""
        while not (at and link):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            for line in log.read_text().splitlines():
                said = json.loads(line) if line.endswith("}") else {"event": ""}
                at = said["at"] if said["event"] == "listening" else at
                link = found[0] if (found := re.findall(r"http://\S+/setup\?token=\S+", said.get("why", ""))) else link
            time.sleep(0.1)
        yield at, link
        running.terminate()
        running.wait(60)
        assert "Fatal" not in log.read_text()
    finally:
        running.kill()
        running.wait()


class Company:
    """A company, its server, and people at their browsers."""

    def __init__(self, project: Project, at: str, browser: Browser) -> None:
        self.project, self.at, self.browser = project, at, browser

    def person(self, name: str, **more: Any) -> Page:
        """Somebody who has logged in, in a browser of their own."""
        settings: dict[str, Any] = {"viewport": DESK, "locale": "en-GB", "timezone_id": "Europe/London"} | more
        page = self.browser.new_context(**settings).new_page()
        page.set_default_timeout(LIMIT_MS)
        page.goto(f"{self.at}/login")
        page.fill("input[name=name]", name)
        page.fill("input[type=password]", PASSWORD)
        page.click("button")
        page.wait_for_url(f"{self.at}/")
        expect(page.locator("h1")).to_have_text("Overview", timeout=LIMIT_MS)
        return page

    def invited(self, name: str, role: str) -> None:
        """Somebody more, with a password."""
        said = self.project.trueup("users", "add", name, "--role", role).expect(0).out
        token = re.findall(r"/setup\?token=([\w-]+)", said)[0]
        page = self.browser.new_context().new_page()
        set_up(page, f"{self.at}/setup?token={token}", None)
        page.context.close()


def set_up(page: Page, link: str, name: str | None) -> None:
    """Choose a password by a link."""
    page.goto(link)
    if name is not None:
        page.fill("input[name=name]", name)
    for box in page.query_selector_all("input[type=password]"):
        box.fill(PASSWORD)
    page.click("button")
    expect(page.locator("h1")).to_have_text("Overview", timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def company(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """A busy company under names that are hard to show; `ada` is its admin."""
    project = busy_company(tmp_path_factory.mktemp("company"))
    for row in (NAUGHTY, LARGE, ODD):
        project.sql("INSERT INTO contacts VALUES (?, ?, ?, ?)", row)
    project.trueup("sync")
    with ExitStack() as stack:
        at, link = stack.enter_context(served(project))
        page = browser.new_context().new_page()
        set_up(page, link, "ada")
        page.context.close()
        yield Company(project, at, browser)


def shown(page: Page, company: Company, path: str) -> None:
    """Open a page by its address, and wait until it is there."""
    page.goto(f"{company.at}/{path}")
    expect(page.locator("h1")).to_be_visible(timeout=LIMIT_MS)
    page.wait_for_load_state("networkidle")


def faults(page: Page) -> list[str]:
    """What axe finds seriously wrong, with an example of each."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in {"serious", "critical"}]


PATHS = (*WAYS, "records/customer", "records/customer/1", "runs/2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_every_page_is_for_everybody(company: Company, size: dict[str, int], scheme: str) -> None:
    page = company.person("ada", viewport=size, color_scheme=scheme)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    for path in PATHS:
        shown(page, company, path)
        assert faults(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
        assert page.evaluate("document.documentElement.lang"), path
        assert page.title() != "caught"
    assert wrong == []
    page.context.close()


def test_hostile_values_are_shown_and_do_nothing(company: Company) -> None:
    page = company.person("ada")
    for said, seen in (("naughty@", "<img src=x"), ("large@", "characters"), ("odd@", "O'Neill")):
        shown(page, company, "records/customer")
        page.get_by_label("A number, system:key").fill(said)
        page.keyboard.press("Enter")
        row = page.locator("tbody tr")
        expect(row).to_have_count(1, timeout=LIMIT_MS)
        expect(row).to_contain_text(seen)
        assert len(row.inner_text()) < 2_000
        row.locator("a").click()
        expect(page.locator("h1")).to_contain_text("customer ")
        expect(page.get_by_role("heading", name="History")).to_be_visible()
        assert "caught" not in page.title()
        assert "@" not in page.url
    page.context.close()


def test_a_moment_is_told_in_the_zone_of_whoever_looks(company: Company) -> None:
    told = []
    for zone in ("Europe/London", "Asia/Tokyo"):
        page = company.person("ada", timezone_id=zone)
        shown(page, company, "runs/1")
        told.append(page.locator("time").first.inner_text())
        page.context.close()
    assert told[0] != told[1]
    assert "UTC" not in told[0]


def test_a_run_elsewhere_is_seen_without_loading_anew(company: Company) -> None:
    page = company.person("ada")
    shown(page, company, "runs")
    newest = int(page.locator("tbody tr").first.locator("a").inner_text())
    company.project.trueup("sync")
    expect(page.locator("tbody tr").first.locator("a")).to_have_text(str(newest + 1), timeout=LIMIT_MS)
    page.context.close()


def test_two_people_settle_one_conflict_and_the_second_is_told(company: Company) -> None:
    company.invited("ben", "reviewer")
    ada, ben = company.person("ada"), company.person("ben")
    for page in (ada, ben):
        shown(page, company, "conflicts")
        expect(page.get_by_text("Which value is right")).to_be_visible(timeout=LIMIT_MS)
    ada.keyboard.press("2")
    expect(ada.get_by_role("status")).to_contain_text("Settled: conflict", timeout=LIMIT_MS)
    expect(ben.get_by_role("status")).to_contain_text("has just been settled", timeout=LIMIT_MS)
    history = company.project.trueup("record", "customer", "crm:1", "--json").expect(0).json["history"]
    settled = [line for line in history if line["kind"] == "resolved"]
    assert [(line["after"], line["who"].split()[0]) for line in settled] == [("Ada Two", "ada")]
    for page in (ada, ben):
        page.context.close()


def test_a_viewer_sees_everything_and_is_offered_nothing(company: Company) -> None:
    company.invited("cy", "viewer")
    page = company.person("cy")
    doing = page.get_by_role("button", name=re.compile("Take|Try|Edit|Give up|The same|Not the same|Pause|Resume|Compare|Undo|Sync"))
    for path in PATHS:
        shown(page, company, path)
        expect(page.locator(".page")).not_to_be_empty()
        assert doing.count() == 0, path
    page.context.close()


def test_whoever_was_disabled_decides_nothing_any_more(company: Company) -> None:
    company.invited("dee", "operator")
    page = company.person("dee")
    shown(page, company, "schedules")
    button = page.get_by_role("button", name="Pause sheet")
    expect(button).to_be_visible(timeout=LIMIT_MS)
    company.project.trueup("users", "disable", "dee").expect(0)
    button.click()
    expect(page.get_by_role("status")).to_contain_text("not logged in any more", timeout=LIMIT_MS)
    assert company.project.trueup("status", "--json").json["paused"] == []
    page.context.close()


def test_pause_and_resume(company: Company) -> None:
    page = company.person("ada")
    shown(page, company, "schedules")
    page.get_by_role("button", name="Pause sheet").click()
    expect(page.get_by_role("button", name="Resume sheet")).to_be_visible(timeout=LIMIT_MS)
    assert company.project.trueup("status", "--json").json["paused"] == ["system sheet"]
    page.get_by_role("button", name="Resume sheet").click()
    expect(page.get_by_role("button", name="Pause sheet")).to_be_visible(timeout=LIMIT_MS)
    assert company.project.trueup("status", "--json").json["paused"] == []
    page.context.close()


def test_what_a_guard_held_is_let_pass(company: Company) -> None:
    page = company.person("ada")
    shown(page, company, "holds")
    expect(page.locator(".page")).to_contain_text("updates of customer in crm", timeout=LIMIT_MS)
    page.get_by_role("button", name=re.compile("Let up to .* pass")).click()
    expect(page.get_by_role("status")).to_contain_text("approved", timeout=LIMIT_MS)
    expect(page.locator(".page")).to_contain_text("Nothing is held.", timeout=LIMIT_MS)
    company.project.trueup("sync").expect(3)
    assert company.project.trueup("holds", "--json").json == []
    page.context.close()


def nothing_held(company: Company) -> None:
    """Let pass whatever a guard holds, so that edits are taken in."""
    company.project.trueup("sync")
    for one in company.project.trueup("holds", "--json").json:
        company.project.trueup("holds", "approve", str(one["id"])).expect(0)
    company.project.trueup("sync").expect(3)


def test_a_value_that_a_system_refused_is_edited_and_delivered(company: Company) -> None:
    nothing_held(company)
    project = company.project
    project.sql("CREATE TRIGGER short BEFORE UPDATE ON contacts WHEN length(NEW.name) > 40 BEGIN SELECT RAISE(ABORT, 'too long'); END")
    project.write("customers.csv", project.read("customers.csv").replace("004,Dot,", f"004,{'Dot ' * 12},"))
    project.trueup("sync")
    (failed,) = (one for one in project.trueup("failures", "--json").json if "too long" in one["reason"])
    page = company.person("ada", viewport=PHONE)
    shown(page, company, "failures")
    page.get_by_role("button", name=f"Edit the value of failure {failed['id']}").click()
    page.get_by_role("button", name="Take what I typed, and try again").click()
    expect(page.get_by_role("status")).to_contain_text("Type the other value first", timeout=LIMIT_MS)
    page.locator(".page select").select_option("credit")
    page.get_by_label("Another value").fill("lots")
    page.get_by_role("button", name="Take what I typed, and try again").click()
    expect(page.get_by_role("status")).to_contain_text("not a decimal number (credit is of type decimal)", timeout=LIMIT_MS)
    assert page.get_by_role("status").inner_text().count("credit is of type decimal") == 1
    expect(page.get_by_label("Another value")).to_have_value("lots")
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator(".page select").select_option("name")
    page.get_by_label("Another value").fill("Dot <b>'שלום</b>")
    page.get_by_label("Another value").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The next run delivers it", timeout=LIMIT_MS)
    project.trueup("sync")
    assert project.sql("SELECT count(*) FROM contacts WHERE name = 'Dot <b>''שלום</b>'") == [(1,)]
    assert "004,Dot <b>'שלום</b>," in project.read("customers.csv")
    assert failed["id"] not in {one["id"] for one in project.trueup("failures", "--json").json}
    project.sql("DROP TRIGGER short")
    page.context.close()


def test_a_run_is_undone_after_a_look_at_what_that_would_do(company: Company) -> None:
    nothing_held(company)
    company.project.sql("UPDATE contacts SET name = 'Number Five' WHERE id = 5")
    company.project.trueup("sync")
    run = company.project.trueup("runs", "--json").json[0]["run"]
    page = company.person("ada")
    shown(page, company, f"runs/{run}")
    expect(page.get_by_text("Number Five").first).to_be_visible(timeout=LIMIT_MS)
    page.get_by_role("button", name="Undo this run").click()
    expect(page.get_by_text("would put back 1 value")).to_be_visible(timeout=LIMIT_MS)
    assert company.project.sql("SELECT name FROM contacts WHERE id = 5") == [("Number Five",)]
    page.get_by_role("button", name="Undo it").click()
    expect(page.get_by_role("status")).to_contain_text("puts back 1 value", timeout=LIMIT_MS)
    assert company.project.sql("SELECT name FROM contacts WHERE id = 5") == [("Number 5",)]
    page.context.close()


def test_the_keyboard_alone_is_enough(company: Company) -> None:
    page = company.person("ada")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("To the page")
    names = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        names.add(page.evaluate("document.activeElement.innerText"))
    assert {"Log out", "Runs", "Light / dark"} <= {str(name).strip() for name in names}
    page.get_by_role("link", name="Runs", exact=True).press("Enter")
    expect(page.locator("h1:focus")).to_have_text("Runs", timeout=LIMIT_MS)
    page.context.close()


def test_nothing_is_reached_without_a_login(company: Company, browser: Browser) -> None:
    page = browser.new_context().new_page()
    for path in PATHS:
        page.goto(f"{company.at}/{path}")
        assert "/login" in page.url, path
    page.context.close()


def test_a_rule_is_proposed_and_the_file_stays_as_it_is(company: Company) -> None:
    nothing_held(company)
    project = company.project
    project.sql("UPDATE contacts SET name = 'Ben One' WHERE id = 2")
    project.write("customers.csv", project.read("customers.csv").replace("002,Ben,", "002,Ben Two,"))
    project.trueup("sync")
    before = project.read("trueup.yaml")
    page = company.person("ada")
    shown(page, company, "conflicts")
    page.get_by_text("More of the same").click()
    page.get_by_role("button", name="Always prefer crm for name").click()
    expect(page.locator("pre.diff")).to_contain_text("source_of_truth: crm", timeout=LIMIT_MS)
    assert project.read("trueup.yaml") == before
    changed = [line for line in project.read("trueup.proposed.yaml").splitlines() if line not in before.splitlines()]
    assert changed == ["      name:   {type: text, required: true, source_of_truth: crm}"]
    project.trueup("-c", "trueup.proposed.yaml", "plan").expect(0)
    page.context.close()
