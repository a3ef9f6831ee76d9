"""The write side: records sessions and folds them into entries, durably."""
