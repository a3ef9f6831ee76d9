"""Run rank_service: `python -m rank_service`, settings from the environment."""

from __future__ import annotations

import os
import sys

import uvicorn

from rank_service.app import create_app
from rank_service.settings import Settings
from shared import logs
from shared.http import Protocol
from shared.settings import SettingsError, load


def main() -> int:
    """Serve until told to stop; requests under way are finished first."""
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(f"rank_service: {error}", file=sys.stderr)
        return 2
    logs.configure("rank_service", settings.log_level)
    uvicorn.run(
        create_app(settings),
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
