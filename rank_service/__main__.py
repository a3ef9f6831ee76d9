"""Run rank_service: `python -m rank_service`, settings from the environment."""

from __future__ import annotations

import os
import socket
import sys

import uvicorn

from rank_service.app import App
from rank_service.settings import Settings
from shared import logs
from shared.http import Protocol
from shared.settings import SettingsError, load


class Server(uvicorn.Server):
    """A server that ends event streams before it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        self._app.end_streams()
        await super().shutdown(sockets)


def main() -> int:
    """Serve until told to stop; requests under way are finished first."""
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(f"rank_service: {error}", file=sys.stderr)
        return 2
    logs.configure("rank_service", settings.log_level)
    app = App(settings)
    config = uvicorn.Config(
        app,
        host=settings.rank_host,
        port=settings.rank_port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    Server(config, app).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
