"""Run one service in the foreground, as the image does: `score_service`, `rank_service`, `gateway`."""

from __future__ import annotations

import sys

import click


@click.command("score_service")
def score_service() -> None:
    """Run score_service, the write side. Its settings are environment variables (deploy/SETTINGS.md)."""
    from score_service.__main__ import main

    sys.exit(main())


@click.command("rank_service")
def rank_service() -> None:
    """Run rank_service, the read side. Its settings are environment variables (deploy/SETTINGS.md)."""
    from rank_service.__main__ import main

    sys.exit(main())


@click.command("gateway")
def gateway() -> None:
    """Run the gateway. Its settings are environment variables (deploy/SETTINGS.md)."""
    from gateway.__main__ import main

    sys.exit(main())
