"""Seasons of scheduled leaderboards, and a fold that knows them."""

from score_service.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(__file__)
