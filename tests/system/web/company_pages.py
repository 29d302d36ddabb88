"""Every page of HTML that trueup writes, of a company in which every queue holds something, under names that are hard to set."""

from __future__ import annotations

from pathlib import Path

from tests.docs.json_company import busy_company

LONG = "donaudampfschifffahrtsgesellschaftskapitaenswitwenversicherung"
STRANGE = (
    (90, "שלום בית־ספר לאומנות", "shalom@example.org", "3"),
    (91, "مقهى السلام للمشروبات", "salam@example.org", "12"),
    (92, "Grin 😀 👩‍💻 & <b>Sons</b>", "grin@example.org", "7.5"),
    (93, LONG, f"{LONG}@{LONG}.example.org", "1"),
    (94, "O'Neill „x“ 株式会社 日本語", "oneill@example.org", "100000000.25"),
)


def pages(folder: Path) -> dict[str, Path]:
    """The pages by name, as the commands wrote them."""
    project = busy_company(folder)
    for row in STRANGE:
        project.sql("INSERT INTO contacts VALUES (?, ?, ?, ?)", row)
    made = {}
    for words in (
        ("drift",),
        ("profile", "old=old.db", "crm=crm.db"),
        ("dedupe", "customer", "--threshold", "0.8"),
        ("decide", "--answers", "answers.yaml"),
        ("sync",),
        ("report", "--since", "7d"),
        ("rehearse", "--rounds", "2", "--seed", "7"),
    ):
        if words == ("sync",):
            project.trueup(*words)  # what it cannot take is in the report
            continue
        made[words[0]] = folder / f"{words[0]}.html"
        project.trueup(*words, "--html", str(made[words[0]]))
    project.trueup("runbook").expect(0)
    return made | {f"runbook-{page.stem}": page for page in sorted((folder / "runbooks").glob("*.html"))}
