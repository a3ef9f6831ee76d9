"""Run rank_service: `python -m rank_service`, settings from the environment."""

from __future__ import annotations

import os
import socket
import sys

import uvicorn

from rank_service.app import App
from rank_service.settings import Settings
from shared import logs
from shared.http import configured, serve
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
    config = configured(
        app, host=settings.rank_host, port=settings.rank_port, drain_seconds=settings.drain_seconds
    )
    return serve(Server(config, app))


if __name__ == "__main__":
    sys.exit(main())
