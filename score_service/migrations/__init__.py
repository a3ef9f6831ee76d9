"""Migrations of the truth: Alembic running plain SQL, one .sql file a revision."""
