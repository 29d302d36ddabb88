"""Bad input: a clear line that names the place and what to do, the right status, the rest done, and never a trace."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time

import psycopg

from tests.system.cli.tool import CONFIG, Ended, command, company, environment


def one_line(ended: Ended) -> str:
    """The one line on stderr."""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("trueup: ")
    return lines[0]


def test_no_configuration(tmp_path):
    project = company(tmp_path)
    for args in (["sync"], ["plan"], ["check"], ["status"], ["runs"], ["failures"], ["holds"], ["sql", "SELECT 1"], ["pause", "crm"]):
        assert "other.yaml: there is no such file" in one_line(project.trueup("-c", "other.yaml", *args).expect(1))


def test_every_problem_of_a_configuration_is_told_with_its_line(tmp_path):
    project = company(tmp_path, CONFIG.replace("connector: csv", "connector: cvs").replace("email: E-mail", "emial: E-mail"))
    ended = project.trueup("sync").expect(1)
    assert ended.out == ""
    assert ended.err.count("trueup.yaml:") == 2
    assert "did you mean `csv`" in ended.err
    assert "trueup.yaml:19" in ended.err
    assert "did you mean `email`" in ended.err
    body = project.trueup("check", "--json").expect(1).json
    assert body["ok"] is False
    assert [problem["line"] for problem in body["problems"]] == [3, 19]
    assert all(problem.keys() == {"file", "line", "path", "message", "hint"} for problem in body["problems"])
    assert body["systems"] == {}


def test_a_missing_variable_is_named(tmp_path):
    project = company(tmp_path, CONFIG.replace("path: crm.db", 'path: "${CRM_FILE}"'))
    assert "CRM_FILE" in one_line(project.trueup("sync").expect(1))
    project.trueup("sync", CRM_FILE="crm.db").expect(0)


def test_a_run_that_could_not_begin_still_says_how_many_records_there_are(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    (tmp_path / "customers.csv").unlink()
    for ended in (project.trueup("sync", "--json").expect(1), project.trueup("run", "2", "--json").expect(0)):
        assert ended.json["entities"]["customer"]["golden"] == {"total": 4, "created": 0, "updated": 0, "deleted": 0}


def test_a_missing_file_stops_an_entity_of_two(tmp_path):
    project = company(tmp_path)
    (tmp_path / "customers.csv").unlink()
    line = one_line(project.trueup("sync").expect(1))
    assert "sheet" in line
    assert "customers.csv" in line
    assert project.trueup("sync", "--json").expect(1).json["status"] == "failed"
    found = project.trueup("check", "--json").expect(1).json
    assert found["systems"]["sheet"]["reachable"] is False
    assert [problem["path"] for problem in found["problems"]] == ["systems.sheet", "entities.customer"]
    assert found["problems"][0]["line"] == 3
    assert "plan" not in project.trueup("plan").expect(1).out


def test_one_of_three_systems_missing_leaves_the_rest_done(tmp_path):
    more = CONFIG.replace("entities:", "  third: {connector: csv, path: third.csv}\nentities:") + (
        "      third:\n        key: No\n        fields: {name: Name, email: E-mail}\n"
    )
    project = company(tmp_path, more)
    ended = project.trueup("sync").expect(3)
    assert "customer in third: left out of this run" in ended.out
    assert project.sql("SELECT count(*) FROM contacts") == [(4,)]
    project.write("third.csv", "No,Name,E-mail\n")
    project.trueup("sync").expect(0)
    assert len(project.read("third.csv").splitlines()) == 5


def test_missing_columns_are_all_told_at_their_lines(tmp_path):
    project = company(tmp_path, CONFIG.replace("name: Name", "name: Nmae").replace("credit: credit}", "credit: kredit}"))
    found = project.trueup("check", "--json").expect(1).json
    told = {
        problem["line"]: problem["message"] for problem in found["problems"] if problem["path"].startswith("entities.customer.mappings")
    }
    assert told.keys() == {16, 19}
    assert "kredit" in told[16]
    assert "Nmae" in told[19]
    text = project.trueup("check").expect(1)
    assert "trueup.yaml:16" in text.out
    assert "problems in trueup.yaml" in one_line(text)
    assert "kredit" in one_line(project.trueup("sync").expect(1))


def test_an_unknown_entity_is_wrong_usage(tmp_path):
    project = company(tmp_path)
    for args in (["sync", "client"], ["plan", "client"], ["failures", "--entity", "client"]):
        assert "there is no entity 'client' (configured: customer)" in one_line(project.trueup(*args).expect(2))


def test_wrong_password_and_no_server(tmp_path, postgres_url):
    right, _, place = postgres_url.rpartition("@")
    user = right.rpartition(":")[0]
    config = CONFIG.replace("{connector: sqlite, path: crm.db}", '{connector: postgres, url: "${CRM}"}')
    project = company(tmp_path, config)
    secret = "Opens3same"
    for url in (f"{user}:{secret}@{place}", f"{user}:{secret}@127.0.0.1:1/db"):
        for args in (["sync"], ["plan"]):
            ended = project.trueup(*args, CRM=url).expect(1)
            assert "crm" in one_line(ended)
            assert secret not in ended.out + ended.err
        found = project.trueup("check", "--json", CRM=url).expect(1)
        assert found.json["systems"]["crm"]["reachable"] is False
        assert secret not in found.out + found.err
    assert not (tmp_path / ".trueup" / "state.db").exists() or project.trueup("runs", "--json", CRM="x").status == 0


def test_the_state_in_postgres(tmp_path, postgres_url):
    project = company(tmp_path, 'state: "${STATE}"\n' + CONFIG)
    assert project.trueup("status", "--json", STATE=postgres_url).expect(0).json["last_run"] is None
    project.trueup("plan", STATE=postgres_url).expect(0)
    assert "trueup sync" in one_line(project.trueup("sql", "SELECT 1", STATE=postgres_url).expect(1))
    project.trueup("sync", STATE=postgres_url).expect(0)
    assert "Nothing to write" in project.trueup("plan", STATE=postgres_url).expect(0).out
    body = project.trueup("status", "--json", STATE=postgres_url).expect(0)
    assert body.json["entities"]["customer"]["golden"]["total"] == 4
    secret = postgres_url.partition("//")[2].partition("@")[0].partition(":")[2]
    assert not secret or secret not in body.json["state"].partition("@")[0].rpartition(":")[2]
    assert project.trueup("sql", "SELECT count(*) AS n FROM customer", "--json", STATE=postgres_url).expect(0).json == [{"n": 4}]
    assert not (tmp_path / ".trueup").exists()


def test_keys_that_are_not_unique_or_null(tmp_path):
    sheet = "No,Name,E-mail,Credit\n001,Ada,ada@example.com,1\n001,Ben,ben@example.com,1\n,Cy,cy@example.com,1\n004,Di,di@example.com,1\n"
    project = company(tmp_path, sheet=sheet)
    found = project.trueup("check", "--json").expect(0).json
    said = " ".join(warning["message"] for warning in found["warnings"])
    assert "cannot be used" in said
    assert next(sample for sample in found["samples"] if sample["system"] == "sheet")["rejected"] == 3
    project.trueup("sync").expect(3)
    assert project.sql("SELECT count(*) FROM contacts WHERE name IN ('Ben', 'Cy')") == [(0,)]
    assert project.sql("SELECT count(*) FROM contacts WHERE name = 'Di'") == [(1,)]
    keys = {failure["key"] for failure in project.trueup("failures", "--json").expect(0).json}
    assert "001" in keys


def test_text_in_a_number_column_of_a_database(tmp_path):
    project = company(tmp_path)
    project.sql("UPDATE contacts SET credit = 'a lot' WHERE id = 3")
    found = project.trueup("check", "--json").expect(0).json
    assert any("cannot be used" in warning["message"] and "3" in warning["hint"] for warning in found["warnings"])
    project.trueup("sync").expect(3)
    assert [failure["key"] for failure in project.trueup("failures", "--json").expect(0).json] == ["3"]
    assert "bea@example.com" in project.read("customers.csv")
    assert "shalom@example.com" not in project.read("customers.csv")


def test_a_read_only_target(tmp_path, postgres_url):
    config = CONFIG.replace("{connector: sqlite, path: crm.db}", '{connector: postgres, url: "${CRM}"}')
    project = company(tmp_path, config)
    reader = f"reader_{tmp_path.name}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE contacts (id serial PRIMARY KEY, name text NOT NULL, email text, credit numeric)")
        connection.execute("INSERT INTO contacts (name, email) VALUES ('Béa', 'bea@example.com')")
        connection.execute(f"CREATE ROLE \"{reader}\" LOGIN PASSWORD 'looking'")
        connection.execute(f'GRANT SELECT ON contacts TO "{reader}"')
        try:
            url = f"postgresql://{reader}:looking@{postgres_url.rpartition('@')[2]}"
            ended = project.trueup("sync", CRM=url).expect(3)
            told = ended.out + project.trueup("failures", CRM=url).expect(0).out
            assert "crm" in told
            assert "permission denied" in told
            assert "bea@example.com" in project.read("customers.csv"), "the others are done"
            assert "looking" not in told
            connection.execute(f'GRANT ALL ON contacts, contacts_id_seq TO "{reader}"')
            project.trueup("failures", "retry", CRM=url)
            project.trueup("sync", CRM=url).expect(0)
            assert connection.execute("SELECT count(*) FROM contacts").fetchone() == (3,)
        finally:
            connection.execute(f'DROP OWNED BY "{reader}"')
            connection.execute(f'DROP ROLE "{reader}"')


def test_a_mapping_that_may_not_write_needs_another_that_may(tmp_path):
    project = company(
        tmp_path,
        CONFIG.replace("key: id\n", "key: id\n        direction: read\n").replace("key: No\n", "key: No\n        direction: read\n"),
    )
    ended = project.trueup("sync").expect(1)
    assert "written" in one_line(ended)


def test_two_processes_at_once(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    hold = (
        "import time, trueup\n"
        "with trueup.open('trueup.yaml') as workspace, workspace.lock('a test'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", hold], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        line = one_line(project.trueup("sync").expect(1))
        assert f"process {other.pid} on " in line
        assert "--wait" in line
        project.trueup("plan").expect(0)
        project.trueup("status").expect(0)
        begun = time.monotonic()
        assert f"process {other.pid}" in one_line(project.trueup("sync", "--wait", "1").expect(1))
        assert time.monotonic() - begun > 1
        with subprocess.Popen(command("sync", "--wait", "60"), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as waiting:
            time.sleep(1.5)
            assert waiting.poll() is None
            other.send_signal(signal.SIGKILL)
            assert waiting.wait(60) == 0


def test_a_state_that_is_none(tmp_path):
    project = company(tmp_path)
    (tmp_path / ".trueup").mkdir()
    project.write(".trueup/state.db", "this is no database, but it is long enough to look at " * 40)
    for args in (["sync"], ["plan"], ["status"], ["sql", "SELECT 1"]):
        assert "state.db" in one_line(project.trueup(*args).expect(1))


def test_an_unexpected_error_is_one_line_and_a_trace_only_when_asked_for(tmp_path):
    project = company(tmp_path)
    spoiled = tmp_path / "spoiled"
    spoiled.mkdir()
    (spoiled / "sitecustomize.py").write_text(
        "import trueup.runtime.workspace as w\n"
        "def broken(self, *a, **k):\n    raise RuntimeError('a defect\\nof ours')\n"
        "w.Workspace.status = broken\n"
    )
    path = os.pathsep.join([str(spoiled), environment()["PYTHONPATH"]])
    assert one_line(project.trueup("status", PYTHONPATH=path).expect(1)).startswith(
        "trueup: unexpected RuntimeError: a defect of ours (run `trueup --debug"
    )
    for asked in (project.trueup("--debug", "status", PYTHONPATH=path), project.trueup("status", PYTHONPATH=path, TRUEUP_DEBUG="1")):
        assert asked.status == 1
        assert "Traceback" in asked.err


def test_a_reader_that_goes_away_is_no_trouble(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    many = command("sql", "SELECT * FROM customer a, customer b, customer c, customer d, customer e")
    piped = f"{shlex.join(many)} | head -1"
    done = subprocess.run(["bash", "-c", piped], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.startswith("id")
    assert done.stderr == "" or "only the first" in done.stderr


def test_an_interrupt_is_status_130(tmp_path):
    project = company(tmp_path)
    wait = "import time, trueup.runtime.workspace as w\nw.Workspace.status = lambda self: (print('there', flush=True), time.sleep(60))\n"
    spoiled = tmp_path / "spoiled"
    spoiled.mkdir()
    (spoiled / "sitecustomize.py").write_text(wait)
    env = environment(PYTHONPATH=os.pathsep.join([str(spoiled), environment()["PYTHONPATH"]]))
    with subprocess.Popen(
        command("status"), cwd=project.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == "trueup: interrupted; what was done stands, and the next run continues from there\n"
