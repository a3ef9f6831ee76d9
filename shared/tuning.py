"""The garbage collector, told how a service lives: much that stays, much that dies young."""

from __future__ import annotations

import gc

YOUNG = 50_000
"""Container objects made before the youngest generation is looked at. With Python's 700, a service
that decodes sessions of 100 results spent a tenth of its time looking at objects that were in use."""


def settle_down() -> None:
    """Leave what start-up made out of every later collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 100)
