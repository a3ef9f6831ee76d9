"""The whole leaderboard on one machine, with no Docker and no root: `leaderboard up`, `make run`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from deploy import files, keyring
from deploy.client import Client
from deploy.database import prepare
from deploy.ports import choose
from deploy.processes import ProgramFailed, alive
from deploy.settings import LocalSettings
from deploy.site import DEMO, Site
from deploy.supervisor import Supervisor
from shared.settings import load
from shared.sockets import Listener, fits

LEFTOVERS = 15.0
"""Seconds that what an earlier, killed run left behind is given to end."""


def say(line: str) -> None:
    """Tell the person at the terminal, if there still is one."""
    with contextlib.suppress(OSError):
        click.echo(line)


def up() -> None:
    """Run a local stack until told to stop.

    Raises:
        SettingsError: a setting is wrong or a port is busy; nothing was started.
        InUse: another stack uses the data directory.
        ProgramFailed: something could not be started; all of it is stopped again.
    """
    began = time.monotonic()
    settings = load(LocalSettings, os.environ)
    folder = Path(settings.local_data_dir).absolute()
    with files.locked(folder) as left:
        await_leftovers(left)
        secrets = files.load_secrets(folder / "secrets.json")
        site = Site(settings, folder, choose(settings), secrets, sockets_in(folder))
        site.log("postgres").parent.mkdir(exist_ok=True)
        asyncio.run(run(site, began))


def sockets_in(folder: Path) -> Path | None:
    """Make a folder for Unix sockets that only we may enter; None where there can be none."""
    sockets = folder / "sockets"
    longest = str(sockets / ".s.PGSQL.65535")
    if not fits(longest):
        say(f"{folder}: no name for sockets, so all speak over TCP")
        return None
    files.make_private(sockets)
    try:
        trial = Listener(longest, 1)
    except OSError as error:  # a folder shared with another system, as of a virtual machine
        say(f"{sockets}: no place for sockets ({error.strerror}), so all speak over TCP")
        return None
    trial.remove()
    trial.socket.close()
    return sockets


async def run(site: Site, began: float) -> None:
    """Run a stack laid out by `site`."""
    await Stack(site, began).run()


def await_leftovers(left: Mapping[str, str]) -> None:
    """Wait for the processes of a run that was killed: the kernel has told them to stop."""
    pids = [int(value) for name, value in left.items() if name.endswith("_PID") and value.isdigit()]
    deadline = time.monotonic() + LEFTOVERS
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)


class Stack:
    """The five processes of a local stack, from start to stop.

    Args:
        site: where everything is.
        began: when the command was given, by the monotonic clock.
    """

    def __init__(self, site: Site, began: float) -> None:
        self._site = site
        self._began = began
        self._keys = keyring.load(site.folder)
        self._supervisor = Supervisor(say, self._publish)
        self._postgres = site.postgres_child()
        self._valkey = site.valkey_child()
        self._score = site.score_child()
        self._rank = site.rank_child()
        self._gateway = site.gateway_child()
        self._serving = False

    async def run(self) -> None:
        """Start everything, serve, stop everything in order."""
        with self._supervisor:
            work = asyncio.create_task(self._serve(), name="serve")
            self._on_signal(work)
            try:
                await asyncio.wait([work])
            finally:
                await self._stop()
        if not work.cancelled():
            work.result()

    def _on_signal(self, work: asyncio.Task[None]) -> None:
        """Stop in order when told to; at once when told again."""
        loop = asyncio.get_running_loop()

        def told() -> None:
            if not work.cancel():
                self._supervisor.kill()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # `nohup` means: outlive the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, told)

    async def _serve(self) -> None:
        say(f"starting in {self._site.folder}")
        start = self._supervisor.start
        await together(start(self._valkey), self._start_postgres())
        await together(start(self._score), start(self._rank), start(self._gateway))
        await self._make_demo()
        self._serving = True
        self._publish()
        self._tell_ready()
        await asyncio.Event().wait()

    async def _start_postgres(self) -> None:
        site = self._site
        # Alembic takes as long to import as initdb takes to run: side by side.
        ready_made = asyncio.to_thread(importlib.import_module, "score_service.migrations")
        await together(ready_made, asyncio.to_thread(site.postgres.initialise))
        await self._supervisor.start(self._postgres)
        passwords = msgspec.structs.asdict(site.secrets)
        await asyncio.to_thread(prepare, site.postgres.url("postgres"), site.database_url, passwords)
        say(f"  postgres   127.0.0.1:{site.ports.local_postgres_port}  migrated")

    async def _make_demo(self) -> None:
        async with Client(self._site.gateway_url, self._keys.admin) as client:
            answer = await client.call("PUT", f"/v1/games/{DEMO}", {"title": "Demo"})
        if answer.status not in (200, 201):
            raise ProgramFailed(f"the game {DEMO!r} could not be made: {answer.status} {answer.body}")

    def _publish(self) -> None:
        """Write local.env, once there is something to read in it."""
        if not self._serving:
            return
        site = self._site
        values = {
            "GATEWAY_URL": site.gateway_url,
            "ADMIN_KEY": self._keys.admin,
            "SUBMIT_KEY": self._keys.submit,
            "READ_KEY": self._keys.read,
            "DATABASE_URL": site.database_url,
            "REDIS_URL": site.valkey.url(),
            "GATEWAY_PID": self._gateway.pid,
            "SCORE_PID": self._score.pid,
            "RANK_PID": self._rank.pid,
            "POSTGRES_PID": self._postgres.pid,
            "REDIS_PID": self._valkey.pid,
        }
        files.write_env(site.folder / "local.env", values)

    def _tell_ready(self) -> None:
        ports = self._site.ports
        say(f"  valkey     127.0.0.1:{ports.local_redis_port}")
        say(f"  services   score_service :{ports.score_port}, rank_service :{ports.rank_port}")
        say(f"  game       {DEMO} (reading it needs no key)")
        say(f"  keys       {self._site.folder / 'local.env'}")
        say(f"ready after {time.monotonic() - self._began:.1f} s: {self._site.gateway_url}")
        say("Ctrl-C stops it and keeps its data")

    async def _stop(self) -> None:
        """Stop who faces callers first and who keeps the truth last."""
        say("stopping")
        self._serving = False
        (self._site.folder / "local.env").unlink(missing_ok=True)
        await self._supervisor.stop(self._gateway)
        await self._supervisor.stop(self._score, self._rank)
        await self._supervisor.stop(self._postgres, self._valkey)
        say("stopped")


async def together(*work: Coroutine[Any, Any, Any]) -> None:
    """Do things side by side; when one fails, end the others and raise its error."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
