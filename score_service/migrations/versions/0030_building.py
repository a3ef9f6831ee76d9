"""Boards built from the history in the background, generation by generation."""

from score_service.migrations import before, run_sql

revision = "0030"
down_revision = before(__file__)


def upgrade() -> None:
    run_sql(__file__)
