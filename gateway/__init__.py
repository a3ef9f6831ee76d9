"""The front door: keys, limits, routing, deadlines. It keeps nothing."""
