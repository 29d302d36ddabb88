"""Where the database servers' programs come from: the system, or Debian's packages unpacked into `.servers/`.

Unpacking needs no root and installs nothing. Package lists are fetched into `.servers/apt` only where the system has none that serve.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

SERVERS = Path(__file__).resolve().parent.parent / ".servers"
DOWNLOAD_LIMIT_S = 300


class ServerUnavailableError(Exception):
    """A server cannot be had here; the message says why and what to install."""


@dataclass(frozen=True)
class Programs:
    """A server's files."""

    directory: Path  # holds the server's own program
    base: Path  # what the program calls its base directory: /usr, or the same inside `unpacked`
    share: Path
    plugins: Path
    unpacked: Path | None = None  # the root of unpacked packages; None: installed in the system
    libraries: tuple[Path, ...] = ()  # where the loader must look first

    def moved(self, root: Path) -> Programs:
        """The same files after `unpacked` was copied to `root`."""
        old = self.unpacked
        if old is None:
            return self

        def move(path: Path) -> Path:
            return root / path.relative_to(old)

        return replace(
            self,
            directory=move(self.directory),
            base=move(self.base),
            share=move(self.share),
            plugins=move(self.plugins),
            unpacked=root,
            libraries=tuple(map(move, self.libraries)),
        )


def postgres_programs(*, installed: bool = True) -> Programs:
    """PostgreSQL of the newest version that the system, or else Debian, has. Raises ServerUnavailableError."""
    return _programs("postgres", _find_postgres, _postgres_packages, installed=installed)


def mariadb_programs(*, installed: bool = True) -> Programs:
    """MariaDB; as `postgres_programs`."""
    return _programs("mariadb", _find_mariadb, lambda _apt: ["mariadb-server-core"], installed=installed)


def openssh_programs(*, installed: bool = True) -> Programs:
    """OpenSSH's server; as `postgres_programs`."""
    return _programs("openssh", _find_openssh, lambda _apt: ["openssh-server"], installed=installed)


def chromium_programs(*, installed: bool = True) -> Programs:
    """The browser, and a font of Debian's with letters of most scripts; as `postgres_programs`."""
    return _programs("chromium", _find_chromium, lambda _apt: ["chromium", "chromium-common", "fonts-dejavu-core"], installed=installed)


def _find_chromium(root: Path) -> Programs | None:
    folder = root / "usr/lib/chromium"
    if not (folder / "chromium").exists():
        return None
    return Programs(directory=folder, base=root / "usr", share=root / "usr/share", plugins=folder)


def _find_openssh(root: Path) -> Programs | None:
    if not (root / "usr/sbin/sshd").exists():
        return None
    return Programs(directory=root / "usr/sbin", base=root / "usr", share=root / "usr/share", plugins=root / "usr/lib/openssh")


def _find_postgres(root: Path) -> Programs | None:
    versions = sorted(root.glob("usr/lib/postgresql/*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not versions and root == Path("/") and (found := shutil.which("initdb")):
        versions = [Path(found).resolve()]
    usable = [path.parent for path in versions if (path.parent / "postgres").exists()]
    if not usable:
        return None
    return Programs(directory=usable[-1], base=root / "usr", share=root / "usr/share/postgresql", plugins=usable[-1].parent / "lib")


def _find_mariadb(root: Path) -> Programs | None:
    if not (root / "usr/sbin/mariadbd").exists():
        return None
    share = next((path for name in ("mysql", "mariadb") if any((path := root / "usr/share" / name).glob("m*_system_tables.sql"))), None)
    if share is None:
        return None
    return Programs(directory=root / "usr/sbin", base=root / "usr", share=share, plugins=root / "usr/lib/mysql/plugin")


def _postgres_packages(apt: _Apt) -> list[str]:
    """The server and its client tools, in the version that Debian's metapackage stands for."""
    found = re.search(r"Depends: postgresql-(\d+)$", apt.run("apt-cache", "depends", "postgresql"), re.MULTILINE)
    if found is None:
        raise ServerUnavailableError("the package lists know no PostgreSQL")
    return [f"postgresql-{found[1]}", f"postgresql-client-{found[1]}"]


def _programs(name: str, find: Callable[[Path], Programs | None], packages: Callable[[_Apt], list[str]], *, installed: bool) -> Programs:
    if installed and (found := find(Path("/"))):
        return found
    with _locked():
        root = SERVERS / name
        if not root.exists():
            try:
                _unpack(root, packages)
            except ServerUnavailableError as error:
                return _installed_as_last_resort(name, find, packages, error)
        unpacked = find(root)
        if unpacked is None:
            raise ServerUnavailableError(f"{root} holds no usable {name}: remove that directory and try again")
        folders = (*root.glob("usr/lib/*-linux-*"), *root.glob("lib/*-linux-*"))
        return replace(unpacked, unpacked=root, libraries=tuple(path for path in folders if path.is_dir()))


def _installed_as_last_resort(
    name: str, find: Callable[[Path], Programs | None], packages: Callable[[_Apt], list[str]], error: ServerUnavailableError
) -> Programs:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        apt = _Apt(private_lists=False)
        apt.run("apt-get", "update", "-qq")
        apt.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages(apt))
        if found := find(Path("/")):
            return found
    advice = {"postgres": "postgresql", "mariadb": "mariadb-server-core", "openssh": "openssh-server", "chromium": "chromium"}[name]
    raise ServerUnavailableError(f"{name}: no server is installed and its packages cannot be had ({error}); try: apt-get install {advice}")


@contextmanager
def _locked() -> Iterator[None]:
    """One process at a time fetches packages."""
    SERVERS.mkdir(exist_ok=True)
    with (SERVERS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Apt:
    """apt's commands, with package lists of our own where the system's do not serve."""

    def __init__(self, *, private_lists: bool) -> None:
        self.options = ["-o", "Debug::NoLocking=1"]
        if os.geteuid() == 0:
            self.options += ["-o", "APT::Sandbox::User=root"]  # the account _apt may not be able to enter the checkout
        if private_lists:
            lists, cache = SERVERS / "apt" / "lists", SERVERS / "apt" / "cache"
            (lists / "partial").mkdir(parents=True, exist_ok=True)
            (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
            self.options += ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
            self.run("apt-get", "update", "-qq")

    def run(self, program: str, *arguments: str, folder: Path | None = None) -> str:
        """The command's output. Raises ServerUnavailableError with its last words where it fails."""
        path = shutil.which(program)
        if path is None:
            raise ServerUnavailableError(f"this system has no {program}")
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        command = [path, *self.options, *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_S, check=False)
        if done.returncode:
            raise ServerUnavailableError(f"{program} {arguments[0]}: {' '.join(done.stderr.split())[-300:] or 'failed'}")
        return done.stdout


def _unpack(root: Path, packages: Callable[[_Apt], list[str]]) -> None:
    """Fetch and unpack the packages with the libraries that the system lacks; `root` appears only when whole."""
    try:
        archives = _download(root, _Apt(private_lists=False), packages)
    except ServerUnavailableError:  # no lists, or older ones than the mirror's packages
        archives = _download(root, _Apt(private_lists=True), packages)
    whole = root.with_name(f"{root.name}.unpacking")
    shutil.rmtree(whole, ignore_errors=True)
    for archive in archives:
        done = subprocess.run(["dpkg-deb", "-x", archive, whole], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerUnavailableError(f"{archive.name} cannot be unpacked: {done.stderr.strip()}")
    shutil.rmtree(archives[0].parent)
    whole.rename(root)


def _download(root: Path, apt: _Apt, packages: Callable[[_Apt], list[str]]) -> list[Path]:
    wanted = packages(apt)
    folder = root.with_name(f"{root.name}.packages")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    apt.run("apt-get", "download", "-qq", *wanted, *_missing_libraries(apt, wanted), folder=folder)
    return sorted(folder.glob("*.deb"))


def _missing_libraries(apt: _Apt, packages: list[str]) -> list[str]:
    """The libraries that installing `packages` would add. LLVM is left out: only PostgreSQL's JIT, switched off here, loads it."""
    plan = apt.run("apt-get", "install", "--simulate", "-qq", "--no-install-recommends", *packages)
    added = re.findall(r"^Inst (\S+) \(", plan, re.MULTILINE)  # an upgrade has the old version in brackets here
    return [name for name in added if name.startswith("lib") and not name.startswith("libllvm") and not name.endswith("-perl")]
