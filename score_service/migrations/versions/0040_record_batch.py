"""A batch is recorded by one call."""

from score_service.migrations import before, run_sql

revision = "0040"
down_revision = before(__file__)


def upgrade() -> None:
    run_sql(__file__)
