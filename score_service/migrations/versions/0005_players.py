"""Players erased, and where they stood day by day."""

from score_service.migrations import before, run_sql

revision = "0005"
down_revision = before(__file__)


def upgrade() -> None:
    run_sql(__file__)
