"""Private database servers for tests, demonstrations and benchmarks.

    python -m tests.servers postgres        prints a superuser's URL, serves until it is stopped
    python -m tests.servers mariadb

A server listens on a free loopback port, keeps its data in a temporary directory, wants a password, and is gone with the thread that
started it. Programs come from the system where it has them, otherwise from Debian's packages (see `tests.server_programs`).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import urlsplit

import psycopg
import pymysql
from psycopg import sql

from tests.server_programs import Programs, ServerUnavailableError, mariadb_programs, postgres_programs

USER = "trueup"
PASSWORD = "trueup-secret"  # guards an empty server on the loopback interface that lives for one test session
START_LIMIT_S = 60.0
POLL_S = 0.02
PORT_ATTEMPTS = 5
DIRECTORY_PREFIX = "trueup-server-"


class Server(ABC):
    """One running server: `start` and `stop` may alternate, and the port and the data stay the same between them."""

    scheme: str
    stop_signal: signal.Signals

    def __init__(self, programs: Programs, *, durable: bool = False) -> None:
        self.durable = durable
        self.account = _service_account()
        self.home = _new_home(self.account)
        self.programs = self._reachable(programs)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    @abstractmethod
    def create_cluster(self) -> None:
        """Write an empty data directory with one superuser, `USER`."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command that serves `self.home` on `self.port`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the superuser can log in now."""

    @abstractmethod
    def create_database(self, name: str) -> None:
        """Create an empty database."""

    @abstractmethod
    def drop_database(self, name: str) -> None:
        """Drop the database, ending whatever still uses it; nothing happens where it is not there."""

    def url(self, database: str | None = None, *, user: str = USER, password: str = PASSWORD) -> str:
        """A plain URL of `database`, or of the one that an administrator connects to."""
        return f"{self.scheme}://{user}:{password}@127.0.0.1:{self.port}/{database or self.admin_database}"

    @property
    @abstractmethod
    def admin_database(self) -> str:
        """A database that is always there."""

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new empty database, dropped afterwards."""
        name = f"t{next(self._numbers)}"
        self.create_database(name)
        try:
            yield self.url(name)
        finally:
            if self.running:
                self.drop_database(name)

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What the server has written so far."""
        path = self.home / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def created(self) -> Self:
        """This server with an empty cluster, running. Raises ServerUnavailableError, with nothing left behind."""
        try:
            self.create_cluster()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def start(self) -> None:
        """Serve, on the port used before where there was one.

        Raises ServerUnavailableError with the end of the server's log where it does not come up.
        """
        for _ in range(1 if self.port else PORT_ATTEMPTS):
            chosen = self.port
            self.port = chosen or free_port()
            if self._came_up():
                return
            if not chosen:
                self.port = 0  # another program may have taken the port meanwhile
        raise ServerUnavailableError(f"{self.scheme}: the server did not come up; its log ends with:\n{self.log()[-2000:]}")

    def _came_up(self) -> bool:
        with (self.home / "server.log").open("ab") as log:
            self._process = self._spawn(self.command(), stdin=subprocess.DEVNULL, output=log)
        deadline_s = time.monotonic() + START_LIMIT_S
        while self.running and time.monotonic() < deadline_s:
            if self.answers():
                return True
            time.sleep(POLL_S)
        self._end(signal.SIGKILL)
        return False

    def kill(self) -> None:
        """End the server as a crash would: connections break, nothing is written down. `start` brings it back."""
        self._end(self.stop_signal)

    def stop(self) -> None:
        """End the server and remove its data."""
        self._end(self.stop_signal)
        shutil.rmtree(self.home, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def _spawn(self, command: list[str], *, stdin: int, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*_ending_with_parent(self.stop_signal), *command],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env=self._environment(),
            user=self.account.pw_uid if self.account else None,
            group=self.account.pw_gid if self.account else None,
            extra_groups=[] if self.account else None,
        )

    def _run(self, command: list[str], text: bytes = b"") -> None:
        process = self._spawn(command, stdin=subprocess.PIPE, output=subprocess.PIPE)
        output, _ = process.communicate(text, START_LIMIT_S)
        if process.returncode:
            tail = output.decode(errors="replace")[-2000:]
            raise ServerUnavailableError(f"{Path(command[0]).name} ended with status {process.returncode}:\n{tail}")

    def _environment(self) -> dict[str, str]:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        if self.programs.libraries:
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, self.programs.libraries))
        return environment

    def _own(self, path: Path) -> Path:
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path

    def _reachable(self, programs: Programs) -> Programs:
        """The programs where the service account may run them: a copy where the checkout lies in a closed directory."""
        if self.account is None or programs.unpacked is None or _open_to_all(programs.unpacked):
            return programs
        copy = self.home / "programs"
        shutil.copytree(programs.unpacked, copy, symlinks=True)
        return programs.moved(copy)


class PostgresServer(Server):
    """PostgreSQL with logical replication on."""

    scheme = "postgresql"
    stop_signal = signal.SIGQUIT  # "immediate shutdown": the whole process group ends, as in a crash
    admin_database = "postgres"

    def create_cluster(self) -> None:
        secret = self.home / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            [
                str(self.programs.directory / "initdb"),
                f"--pgdata={self.home / 'data'}",
                f"--username={USER}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]
        )
        secret.unlink()

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.home),
            "wal_level": "logical",
            "max_connections": "200",
            "max_wal_senders": "20",
            "max_replication_slots": "20",
            "jit": "off",
            "timezone": "GMT",  # known to the server itself, so that a machine without zone files will do
            "log_timezone": "GMT",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}  # a commit still outlives the process, though not the machine
        options = itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in settings.items())
        return [str(self.programs.directory / "postgres"), "-D", str(self.home / "data"), *options]

    def answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> None:
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def drop_database(self, name: str) -> None:
        with self._connect() as connection:
            slots = connection.execute("SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", [name]).fetchall()
            for slot, pid in slots:
                if pid is not None:
                    connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url(), autocommit=True, connect_timeout=5)


class MariadbServer(Server):
    """MariaDB, reached by `mysql://` URLs."""

    scheme = "mysql"
    stop_signal = signal.SIGKILL
    admin_database = "mysql"

    def create_cluster(self) -> None:
        self._own(_directory(self.home / "data"))
        self._own(_directory(self.home / "tmp"))
        share = self.programs.share
        # The names changed from mysql_* to mariadb_* in version 11.
        scripts = [next(share.glob(f"m*_{name}.sql")) for name in ("system_tables", "performance_tables", "system_tables_data")]
        statements = [b"CREATE DATABASE mysql;\nUSE mysql;\n", *(script.read_bytes() for script in scripts)]
        statements.append(
            f"FLUSH PRIVILEGES;\nCREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n".encode()
        )
        self._run([*self._base_command(), "--bootstrap", "--skip-log-bin"], b"\n".join(statements))

    def _base_command(self) -> list[str]:
        return [
            str(self.programs.directory / "mariadbd"),
            "--no-defaults",
            f"--basedir={self.programs.base}",
            f"--lc-messages-dir={self.programs.share}",
            f"--character-sets-dir={self.programs.share / 'charsets'}",
            f"--plugin-dir={self.programs.plugins}",
            f"--datadir={self.home / 'data'}",
            f"--tmpdir={self.home / 'tmp'}",
            "--innodb-use-native-aio=0",  # io_uring is often forbidden in containers
            *([] if self.durable else ["--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0", "--innodb-flush-method=nosync"]),
        ]

    def command(self) -> list[str]:
        return [
            *self._base_command(),
            f"--port={self.port}",
            f"--socket={self.home / 'server.sock'}",
            f"--pid-file={self.home / 'data' / 'server.pid'}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--max-connections=200",
            "--character-set-server=utf8mb4",
            "--default-time-zone=+00:00",
            "--server-id=1",
            "--log-bin=binlog",
            "--binlog-format=ROW",
            f"--sync-binlog={int(self.durable)}",
        ]

    def answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> None:
        self._execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def drop_database(self, name: str) -> None:
        with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
            for (number,) in cursor.fetchall():
                # A session may end by itself between the listing and the KILL (1094: unknown thread).
                with contextlib.suppress(pymysql.err.OperationalError):
                    cursor.execute(f"KILL {int(number)}")
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def _execute(self, statement: str) -> None:
        with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def _connect(self) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, database="mysql", autocommit=True, connect_timeout=5
        )


def mariadb_client(url: str, **options: Any) -> pymysql.Connection[pymysql.cursors.Cursor]:
    """A connection to the database of a `mysql://` URL that commits each statement; `options` as for PyMySQL."""
    parts = urlsplit(url)
    usual: dict[str, Any] = {
        "host": parts.hostname or "",
        "port": parts.port or 3306,
        "user": parts.username or "",
        "password": parts.password or "",
        "database": parts.path.lstrip("/"),
        "autocommit": True,
    }
    return pymysql.connect(**(usual | options))


def start_postgres(*, durable: bool = False, installed: bool = True) -> PostgresServer:
    """A running PostgreSQL. `durable` keeps fsync on (benchmarks); without `installed` the unpacked packages are used.

    Raises ServerUnavailableError where the programs cannot be had or do not start.
    """
    return PostgresServer(postgres_programs(installed=installed), durable=durable).created()


def start_mariadb(*, durable: bool = False, installed: bool = True) -> MariadbServer:
    """A running MariaDB; as `start_postgres`."""
    return MariadbServer(mariadb_programs(installed=installed), durable=durable).created()


def _service_account() -> pwd.struct_passwd | None:
    """The account to serve as; None is the current one. Both servers refuse, or should refuse, to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerUnavailableError("a database server must not run as root, and this system has no account `postgres` or `nobody`")


def _new_home(account: pwd.struct_passwd | None) -> Path:
    """A new directory that names its owner's process; those of processes that are gone are removed."""
    parent = Path(tempfile.gettempdir())
    for old in parent.glob(f"{DIRECTORY_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            if old.stat().st_uid in {os.geteuid(), account.pw_uid if account else None} and not _alive(int(old.name.split("-")[2])):
                shutil.rmtree(old, ignore_errors=True)
    home = Path(tempfile.mkdtemp(prefix=f"{DIRECTORY_PREFIX}{os.getpid()}-"))
    if account is not None:
        os.chown(home, account.pw_uid, account.pw_gid)
    return home


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _open_to_all(path: Path) -> bool:
    """Whether every account may enter the directory."""
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (path, *path.parents))


def _ending_with_parent(how: signal.Signals) -> list[str]:
    """A prefix that asks the kernel to send the server a signal when the thread that started it ends, so that none is left behind."""
    setpriv = shutil.which("setpriv")  # part of every Debian
    return [setpriv, "--pdeathsig", how.name.removeprefix("SIG"), "--"] if setpriv else []


def main() -> None:
    """Serve until a signal arrives."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description="Start a private database server and print its URL.")
    parser.add_argument("kind", choices=["postgres", "mariadb"])
    parser.add_argument("--durable", action="store_true", help="keep fsync on, as a real server does")
    parser.add_argument("--unpacked", action="store_true", help="use Debian's packages even where the server is installed")
    options = parser.parse_args()
    start = start_postgres if options.kind == "postgres" else start_mariadb
    try:
        server = start(durable=options.durable, installed=not options.unpacked)
    except ServerUnavailableError as error:
        sys.exit(str(error))
    told_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: told_to_stop.set())
    print(server.url(), flush=True)  # noqa: T201 -- the answer of this command
    told_to_stop.wait()
    server.stop()


if __name__ == "__main__":
    main()
