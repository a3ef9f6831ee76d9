"""Run the gateway: `python -m gateway`, settings from the environment."""

from __future__ import annotations

import os
import sys

import uvicorn

from gateway.app import create_app
from gateway.door import Door
from gateway.settings import Settings
from shared import http, logs
from shared.settings import SettingsError, load


class Server(http.Server):
    """A server whose gateway knows that it is to stop."""

    async def leave(self) -> None:
        """Be ready no more; close each connection with its next answer."""
        self.lifespan.state["gateway"].is_stopping = True


def main() -> int:
    """Serve until told to stop; accepted requests are finished first."""
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    logs.configure("gateway", settings.log_level)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.gateway_host,
        port=settings.gateway_port,
        loop="uvloop",
        http=Door,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    return http.serve(Server(config, leave_seconds=settings.leave_seconds))


if __name__ == "__main__":
    sys.exit(main())
