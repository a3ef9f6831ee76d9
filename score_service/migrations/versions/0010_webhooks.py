"""Webhooks of leaderboards, and the announcements of sealed seasons on their way."""

from score_service.migrations import before, run_sql

revision = "0010"
down_revision = before(__file__)


def upgrade() -> None:
    run_sql(__file__)
