"""What an operator runs: the leaderboard command and the local stack."""
