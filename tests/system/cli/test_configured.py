"""A plan shows what the configuration says otherwise than when the systems were last read."""

from __future__ import annotations

from tests.system.cli.tool import CONFIG, company


def test_a_plan_shows_changed_settings_of_fields_and_mappings(tmp_path):
    project = company(tmp_path)
    assert project.trueup("plan", "--json").expect(0).json["configuration"] == []
    project.trueup("sync").expect(0)
    assert project.trueup("plan", "--json").expect(0).json["configuration"] == []
    assert "The configuration changed" not in project.trueup("plan").expect(0).out
    changed = (
        CONFIG.replace("clean: [trim, lower]", "clean: [trim]")
        .replace("credit: {type: decimal,", "balance: {was: credit, type: decimal,")
        .replace("credit: credit", "balance: credit")
        .replace("credit: Credit}", "balance: Credit}\n        direction: read")
        .replace("name: name, ", "")
    )
    project.write("trueup.yaml", changed)
    found = project.trueup("plan", "--json").expect(0).json["configuration"]
    told = {(item["system"], item["field"], item["part"]): (item["before"], item["now"]) for item in found}
    assert told == {
        ("crm", "email", "clean"): ([["trim", None], ["lower", None]], [["trim", None]]),
        ("crm", "balance", "was"): ("credit", "balance"),
        ("crm", "name", "field"): ("mapped", None),
        ("sheet", "email", "clean"): ([["trim", None], ["lower", None]], [["trim", None]]),
        ("sheet", "balance", "was"): ("credit", "balance"),
        ("sheet", None, "direction"): ("both", "read"),
    }
    out = project.trueup("plan").expect(0).out
    assert "The configuration changed since these systems were last read whole" in out
    assert "direction" in out
    project.trueup("sync").expect(0)
    assert project.trueup("plan", "--json").expect(0).json["configuration"] == []


def test_a_moved_file_is_shown_without_what_is_secret(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    (tmp_path / "customers.csv").rename(tmp_path / "people.csv")
    project.write("trueup.yaml", CONFIG.replace("path: customers.csv", "path: people.csv"))
    (item,) = project.trueup("plan", "--json").expect(0).json["configuration"]
    assert (item["system"], item["part"], item["now"].rpartition("/")[2]) == ("sheet", "path", "people.csv")
