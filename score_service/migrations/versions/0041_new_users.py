"""A batch looks up new users only."""

from score_service.migrations import before, run_sql

revision = "0041"
down_revision = before(__file__)


def upgrade() -> None:
    run_sql(__file__)
