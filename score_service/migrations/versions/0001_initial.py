"""The first schema: games, leaderboards, users, history, entries, outbox."""

from score_service.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(__file__)
