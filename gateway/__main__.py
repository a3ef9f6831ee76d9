"""Run the gateway: `python -m gateway`, settings from the environment."""

from __future__ import annotations

import os
import sys

import uvicorn

from gateway.app import create_app
from gateway.door import Door
from gateway.settings import Settings
from shared import logs
from shared.settings import SettingsError, load


def main() -> int:
    """Serve until told to stop; accepted requests are finished first."""
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    logs.configure("gateway", settings.log_level)
    uvicorn.run(
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
