"""Error over bytes of each weight in every structure, and the points to take of them."""

from structlin.surgery.curves._allocate import allocate
from structlin.surgery.curves._curves import Point, curve, stored

__all__ = ["Point", "allocate", "curve", "stored"]
