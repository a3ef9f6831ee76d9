"""The read side: exact, tie-aware ranks from the ranking index, over Postgres."""
