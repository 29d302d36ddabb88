"""`trueup doctor`: what is wrong is found, worst first, and its bundle holds no value of a record and no secret."""

from __future__ import annotations

import os
import sqlite3
import stat
import zipfile
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.system.cli.tool import CONFIG, PEOPLE, Project, company
from trueup.model import ObjectSpec
from trueup.runtime.doctor import _CLOCKS

MARK = "zqx-marker"
STATE = ".trueup/state.db"


def findings(project: Project, status: int, *args: str, **env: str) -> dict[str, list[dict]]:
    """The findings by check."""
    found: dict[str, list[dict]] = {}
    for one in project.trueup("doctor", "--json", *args, **env).expect(status).json["findings"]:
        found.setdefault(one["check"], []).append(one)
    return found


def test_nothing_is_wrong_with_a_new_project_and_with_one_that_was_synced(tmp_path):
    project = company(tmp_path)
    assert [one["level"] for ones in findings(project, 0).values() for one in ones] == ["note"]
    assert not (tmp_path / ".trueup").exists()
    project.trueup("sync").expect(0)
    project.trueup("backup").expect(0)
    ended = project.trueup("doctor").expect(0)
    assert ended.out == "Nothing is wrong with this installation.\n"


def test_the_worst_comes_first_and_everything_has_a_remedy(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    (tmp_path / STATE).chmod(0o644)
    (tmp_path / "customers.csv").unlink()
    body = project.trueup("doctor", "--json").expect(3).json
    levels = [one["level"] for one in body["findings"]]
    assert levels == sorted(levels, key=["broken", "risk", "note"].index)
    assert {"broken", "risk", "note"} == set(levels)
    assert all(one["remedy"] for one in body["findings"])
    assert body["well"] is False
    text = project.trueup("doctor").expect(3).out
    assert text.startswith("broken: the system sheet cannot be used")
    assert text.endswith("2 things to mend.\n")


def test_the_places_of_packages(tmp_path):
    """One that is not there, one that may only be read, and one that cannot be connected to; the answers' place of each as well."""
    wrong = "packages:\n  out: {export: customer, to: nowhere, answers: closed}\n  far: {export: customer, to: 'sftp://me@127.0.0.1:1/x'}\n"
    project = company(tmp_path, CONFIG + wrong)
    project.trueup("sync").expect(0)
    (tmp_path / "closed").mkdir()
    places = findings(project, 3)["places"]
    assert [one["level"] for one in places] == ["broken", "broken"]
    assert "packages out: the place" in places[0]["message"]
    assert "nowhere cannot be used" in places[0]["message"]
    assert "127.0.0.1:1/x does not answer" in places[1]["message"]
    told = project.trueup("check").expect(1)
    assert "packages.out.to: the place" in told.out + told.err
    (tmp_path / "nowhere").mkdir()
    project.write("trueup.yaml", CONFIG + wrong.splitlines()[0] + "\n" + wrong.splitlines()[1] + "\n")
    project.trueup("check").expect(0)
    assert "places" not in findings(project, 0)
    assert not list((tmp_path / "nowhere").iterdir()), "nothing was put there"
    if os.geteuid() != 0:  # nothing is closed to root
        (tmp_path / "nowhere").chmod(0o500)
        assert "nothing can be put into" in findings(project, 3)["places"][0]["message"]


def test_files_that_others_may_read_or_change(tmp_path):
    project = company(tmp_path, CONFIG.replace("path: crm.db", 'path: "${CRM}"'))
    project.write(".env", "CRM=crm.db\n").chmod(0o644)
    project.trueup("sync").expect(0)
    (tmp_path / STATE).chmod(0o640)
    (tmp_path / "trueup.yaml").chmod(0o646)
    told = [one["remedy"] for one in findings(project, 3)["permissions"]]
    assert any(remedy.startswith(f"chmod 600 {tmp_path / STATE}") for remedy in told)
    assert f"chmod 600 {tmp_path / '.env'}" in told
    assert any(remedy.startswith("chmod o-w") for remedy in told)
    for remedy in told:  # what is told helps
        os.system(f"cd {tmp_path} && {remedy}")  # noqa: S605  the remedy as a person would type it
    assert "permissions" not in findings(project, 0)
    assert stat.S_IMODE((tmp_path / STATE).stat().st_mode) == 0o600


def test_a_password_in_the_configuration(tmp_path):
    project = company(
        tmp_path, CONFIG.replace("entities:", f"  shop: {{connector: postgres, url: 'postgresql://u:{MARK}@127.0.0.1:1/x'}}\nentities:")
    )
    found = findings(project, 3)
    assert "secrets" in found
    assert MARK not in str(found)


def test_a_configuration_that_cannot_be_used(tmp_path):
    project = company(tmp_path, CONFIG.replace("type: decimal", "type: money"))
    (problem,) = findings(project, 3)["configuration"]
    assert "line 11" in problem["message"]
    missing = Project(tmp_path / "nowhere")
    missing.folder.mkdir()
    assert "configuration" in findings(missing, 3)


def test_a_state_that_is_damaged_foreign_or_of_the_future(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    whole = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(whole[:8192] + b"\x00" * 50_000 + whole[58_192:])
    (broken,) = findings(project, 3)["state"]
    assert broken["level"] == "broken"
    (tmp_path / STATE).write_bytes(b"not a database at all, " * 100)
    assert findings(project, 3)["state"][0]["level"] == "broken"
    (tmp_path / STATE).write_bytes(whole)
    project.sql("UPDATE schema_version SET version_num = '9999'", database=STATE)
    (newer,) = findings(project, 3)["state"]
    assert "newer trueup" in newer["words"]
    ended = project.trueup("status").expect(1)
    assert ended.err.count("\n") == 1
    assert "install the newer version" in ended.err


def test_what_has_waited_for_long(tmp_path):
    project = company(tmp_path, sheet="No,Name,E-mail,Credit\n001,Ada,ada@example.com,10.5\n002,Cy,cy@example.com,lots\n")
    project.trueup("sync").expect(3)
    assert "failures" not in findings(project, 0)
    long_ago = int((datetime.now(UTC) - timedelta(days=60)).timestamp() * 1e6)
    project.sql("UPDATE failure SET first_at = ?", (long_ago,), database=STATE)
    project.sql("UPDATE run SET status = 'failed', error = 'no room'", database=STATE)
    project.sql("INSERT INTO sending (entity, system, kind, at, payload) VALUES (1, 1, 'update', ?, x'00')", (long_ago,), database=STATE)
    project.sql(
        "INSERT INTO hold (entity, system, kind, counts, limit_, since) VALUES (1, 1, 'deletes', '{\"count\": 9}', '{}', ?)",
        (long_ago,),
        database=STATE,
    )
    project.trueup("pause", "sheet").expect(0)
    found = findings(project, 3)
    assert found["failures"][0]["message"] == "1 failure of more than 7 days ago still open"
    assert "interrupted" in found["intents"][0]["message"]
    assert found["runs"][0]["words"] == "no room"
    assert found["holds"][0]["level"] == "risk"
    assert found["paused"][0]["level"] == "note"


def test_a_missing_index_and_a_tampered_trail(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.sql("DROP INDEX history_run", database=STATE)
    project.sql("DROP TRIGGER audit_no_update", database=STATE)
    project.sql("UPDATE audit SET line = replace(line, 'sync', 'plan') WHERE number = 1", database=STATE)
    found = findings(project, 3)
    assert "history_run" in found["indexes"][0]["message"]
    assert "line 1 was changed" in found["audit"][0]["message"]


def test_a_table_without_a_key(tmp_path):
    project = company(tmp_path)
    project.sql("ALTER TABLE contacts RENAME TO old")
    project.sql("CREATE TABLE contacts (id INTEGER, name TEXT, email TEXT, credit NUMERIC)")
    (keys,) = findings(project, 3)["keys"]
    assert "customer in crm" in keys["message"]


def test_a_full_disk_and_a_growing_state(tmp_path, monkeypatch):
    """The figures are made up here: a disk cannot be filled on demand."""
    from types import SimpleNamespace

    from trueup.runtime import doctor, doctor_growth

    project = company(tmp_path)
    project.trueup("sync").expect(0)
    project.sql("UPDATE run SET started_at = started_at - 5 * 86400 * 1000000", database=STATE)
    for free, level in ((10 * 1024**2, "broken"), (100 * 1024**2, "risk")):
        disk = SimpleNamespace(disk_usage=lambda _path, free=free: SimpleNamespace(free=free))
        monkeypatch.setattr(doctor, "shutil", disk)
        monkeypatch.setattr(doctor_growth, "shutil", SimpleNamespace(disk_usage=lambda _path: SimpleNamespace(free=1024**2)))
        found = doctor.diagnose(tmp_path / "trueup.yaml")
        assert {one.level for one in found.findings if one.check == "space"} == {level}
        assert [one.level for one in found.findings if one.check == "growth"] == ["risk"]
    assert found.facts["state"]["days"] == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize("few", [True, False])
def test_how_the_state_grows_and_what_compact_would_free(tmp_path, monkeypatch, few):
    from trueup.runtime import doctor
    from trueup.store import retention

    if not few:  # so that it is told from samples
        monkeypatch.setattr(retention, "SAMPLES", 8)
        monkeypatch.setattr(retention, "SAMPLED_LINES", 10)
    project = company(tmp_path, "retention: {history: 2d}\n" + CONFIG)
    project.trueup("sync").expect(0)
    project.sql("UPDATE run SET started_at = started_at - 10 * 86400 * 1000000", database=STATE)
    project.sql("UPDATE history SET recorded_at = recorded_at - 10 * 86400 * 1000000", database=STATE)
    now = datetime.now(UTC)
    begun = int((now - timedelta(days=10)).timestamp()) * 1_000_000
    project.sql(
        "INSERT INTO history (version, entity, golden_id, run, field, kind, system, at, recorded_at, rule, before, after)"
        " WITH RECURSIVE numbered(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbered WHERE n < 399)"
        """ SELECT n + 9, 1, 1, 1, 'name', 'edit', 1, :begun + n * :step, :begun + n * :step, 'accepted', '"a"', '"b"' FROM numbered""",
        {"begun": begun, "step": 35 * 60 * 1_000_000},
        database=STATE,
    )
    told = doctor.diagnose(tmp_path / "trueup.yaml")
    facts = told.facts["state"]
    assert {"history", "golden", "shadow"} <= {one["table"] for one in facts["tables"]}
    assert facts["history_per_day_lately"] == pytest.approx(40, rel=0.1)
    assert "`trueup compact` would take out about" in told.as_text()
    assert "MiB a day" in told.as_text()
    freed = project.trueup("compact", "--json").expect(0).json["lines"]
    assert freed > 300
    assert facts["compact_would_free"]["lines"] == (freed if few else pytest.approx(freed, rel=0.2))
    assert facts["compact_would_free"]["bytes"] > 0
    assert doctor.diagnose(tmp_path / "trueup.yaml").facts["state"]["compact_would_free"]["lines"] == 0


def test_a_modified_column_without_an_index(tmp_path, postgres_url, mariadb_url):
    import psycopg
    import pymysql
    from sqlalchemy import make_url

    address = make_url(mariadb_url)

    def everywhere(statement: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(statement)
        opened = pymysql.connect(
            host=address.host, port=address.port or 3306, user=address.username, password=address.password or "", database=address.database
        )
        with closing(opened) as other, other.cursor() as cursor:
            cursor.execute(statement)
        project.sql(statement)

    project = Project(tmp_path)
    config = 'systems:\n  pg: {connector: postgres, url: "${PG}"}\n  my: {connector: mysql, url: "${MY}"}\n'
    config += (
        "  lite: {connector: sqlite, path: crm.db}\nentities:\n  customer:\n    match: [[email]]\n    fields: {email: {}}\n    mappings:\n"
    )
    for name in ("pg", "my", "lite"):
        config += f"      {name}: {{object: contacts, key: id, modified: changed_at, fields: {{email: email}}}}\n"
    project.write("trueup.yaml", config)
    urls = {"PG": postgres_url, "MY": mariadb_url}
    everywhere("CREATE TABLE contacts (id int PRIMARY KEY, email varchar(90), changed_at timestamp)")
    everywhere("CREATE INDEX other ON contacts (email, changed_at)")
    found = findings(project, 0, **urls)
    assert [one["message"].split(":")[0] for one in found["modified"]] == [f"customer in {name}" for name in ("pg", "my", "lite")]
    assert "changed_at" in found["modified"][0]["message"]
    everywhere("CREATE INDEX since ON contacts (changed_at, email)")
    assert "modified" not in findings(project, 0, **urls)


def test_the_clocks_of_databases(tmp_path, postgres_url, mariadb_url):
    import psycopg
    import pymysql
    from sqlalchemy import make_url

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE contacts (id int PRIMARY KEY, email text)")
    address = make_url(mariadb_url)
    with closing(
        pymysql.connect(
            host=address.host, port=address.port or 3306, user=address.username, password=address.password or "", database=address.database
        )
    ) as connection:
        connection.cursor().execute("CREATE TABLE contacts (id int PRIMARY KEY, email varchar(100))")
    project = Project(tmp_path)
    project.write(
        "trueup.yaml",
        f"systems:\n  pg: {{connector: postgres, url: '{postgres_url}'}}\n  my: {{connector: mysql, url: '{mariadb_url}'}}\n"
        "entities:\n  customer:\n    match: [[email]]\n    fields: {email: {}}\n    mappings:\n"
        "      pg: {object: contacts, key: id, fields: {email: email}}\n      my: {object: contacts, key: id, fields: {email: email}}\n",
    )
    body = project.trueup("doctor", "--json").json
    assert body["facts"]["clocks_apart_s"].keys() == {"pg", "my"}
    assert all(apart < 5 for apart in body["facts"]["clocks_apart_s"].values())
    assert "clocks" not in {one["check"] for one in body["findings"]}


def test_a_clock_that_is_apart_is_found(tmp_path, postgres_url, monkeypatch):
    import psycopg

    from trueup.runtime.doctor import diagnose

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE contacts (id int PRIMARY KEY, email text)")
    project = company(tmp_path)
    config = CONFIG.replace("{connector: sqlite, path: crm.db}", f"{{connector: postgres, url: '{postgres_url}'}}").replace(
        "name: name, email: email, credit: credit", "email: email"
    )
    project.write("trueup.yaml", config)
    monkeypatch.setitem(_CLOCKS, "postgres", _CLOCKS["postgres"].replace("clock_timestamp()", "(clock_timestamp() - interval '7 minutes')"))
    found = diagnose(tmp_path / "trueup.yaml")
    assert [one.message for one in found.findings if one.check == "clocks"] == ["the clock of crm and that of this machine are 420 s apart"]
    assert ObjectSpec(name=None, key=("id",), sql="SELECT 1").sql  # the question is an ordinary query of a mapping


# ---------------------------------------------------------------- the bundle


def test_the_bundle_holds_no_value_and_no_secret(tmp_path):
    config = CONFIG.replace("path: crm.db", "path: crm.db, timezone: Europe/London").replace(
        "key: No", f"key: No\n        where: \"Name != '{MARK}'\""
    )
    config = config.replace("credit: {type: decimal,", f"state: {{type: text, one_of: ['{MARK}', open]}}\n      credit: {{type: decimal,")
    config = config.replace("name: name, email", f"name: {{column: name, values: {{open: {MARK}, '{MARK}': x}}, lossy: true}}, email")
    config = config.replace(
        "entities:",
        "  shop: {connector: postgres, url: '${SHOP}'}\n  other: {connector: postgres, url: 'postgresql://u:"
        + MARK
        + "@127.0.0.1:1/x'}\nentities:",
    )
    sheet = f"No,Name,E-mail,Credit\n{MARK},Ada {MARK},{MARK}@example.com,{MARK}\n002,Ben {MARK},ben-{MARK}@example.com,1\n"
    project = company(tmp_path, config, sheet, [*PEOPLE, (9, f"Eve {MARK}", f"eve-{MARK}@example.com", "1")])
    project.write(".env", f"SHOP=postgresql://{MARK}:{MARK}@127.0.0.1:1/{MARK}\n")
    project.trueup("sync")
    project.trueup("sync", "--record", "customer", f"sheet:{MARK}")
    project.sql("UPDATE run SET status = 'failed', error = ?", (f"cannot {MARK}",), database=STATE)
    assert MARK in project.trueup("failures", "--json").out  # it was there to be found
    project.trueup("doctor", "--bundle", "support.zip").expect(3)
    with zipfile.ZipFile(tmp_path / "support.zip") as archive:
        assert {"README.txt", "findings.json", "facts.json", "configuration.json", "packages.json"} == set(archive.namelist())
        contents = {name: archive.read(name).decode() for name in archive.namelist()}
    assert [name for name, text in contents.items() if MARK in text] == []
    assert "last_write_wins" in contents["configuration.json"]
    assert '"systems.shop.url": "(text)"' in contents["configuration.json"]
    assert "polars" in contents["packages.json"]
    assert MARK.encode() not in (tmp_path / "support.zip").read_bytes()
    assert stat.S_IMODE((tmp_path / "support.zip").stat().st_mode) == 0o600


def test_a_bundle_is_written_where_nothing_works(tmp_path):
    project = company(tmp_path, CONFIG.replace("type: decimal", "type: money"))
    project.trueup("doctor", "--bundle", "support.zip").expect(3)
    assert (tmp_path / "support.zip").exists()
    before = (tmp_path / "support.zip").read_bytes()
    assert "is there already" in project.trueup("doctor", "--bundle", "support.zip").expect(2).err
    assert (tmp_path / "support.zip").read_bytes() == before
    assert "folder that exists" in project.trueup("doctor", "--bundle", "no/where.zip").expect(2).err
    project.write("trueup.yaml", "systems: [\n")
    project.trueup("doctor", "--bundle", "other.zip").expect(3)


def test_a_run_at_work_is_told_and_does_not_stop_the_doctor(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    with closing(sqlite3.connect(tmp_path / STATE)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "state" not in findings(project, 0)


def test_a_state_in_postgres(tmp_path, postgres_url):
    project = company(tmp_path, f"state: {postgres_url}\n{CONFIG}")
    assert [one["check"] for ones in findings(project, 3).values() for one in ones][:1] == ["secrets"]  # its password stands in the file
    project.trueup("sync").expect(0)
    body = project.trueup("doctor", "--json").expect(3).json
    assert body["facts"]["state"]["kind"] == "postgresql"
    assert body["facts"]["state"]["bytes"] > 0
    assert {one["check"] for one in body["findings"]} == {"secrets", "permissions", "backups"}
    project.trueup("record", "customer", "crm:1").expect(0)
    project.trueup("audit", "verify").expect(0)
    assert [line["what"]["command"] for line in project.trueup("audit", "--kind", "command", "--json").expect(0).json] == ["record", "sync"]
