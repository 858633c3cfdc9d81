"""Small networks on random projections, for Flax Linen: no vocabulary and no embedding table.

Those of texts take raw bytes, so a model exported with ``jax.export`` needs no code beside it.
"""

from structlin.networks._arrays import ProjectionCNN, ProjectionNet
from structlin.networks._bags import SGNN, SGNNPlusPlus
from structlin.networks._sequences import PQRNN, PRADO, ProjectionRNN

__all__ = [
    "PQRNN",
    "PRADO",
    "SGNN",
    "ProjectionCNN",
    "ProjectionNet",
    "ProjectionRNN",
    "SGNNPlusPlus",
]
