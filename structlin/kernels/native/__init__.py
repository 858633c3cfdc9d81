"""Products and recurrences in C++ on a CPU, built on first use; XLA's are the definition.

`Program` says in integers what a matrix is, and which arrays it is made of. The library is compiled
by the system's compiler into the user's cache and called through ``jax.ffi``; where that cannot be,
`ready` is false, one warning says why, and every caller goes on with XLA. ``STRUCTLIN_NATIVE=0`` in
the environment turns it off.
"""

from structlin.kernels.native._build import BuildError, build, clean, library_path
from structlin.kernels.native._calls import fits, gru, lstm, product
from structlin.kernels.native._library import forget, instructions, ready, status
from structlin.kernels.native._program import (
    Program,
    block_program,
    chain_program,
    code_program,
    column_program,
    dense_program,
    kronecker_program,
    slot_program,
    spread_program,
    sum_program,
)

__all__ = [
    "BuildError",
    "Program",
    "block_program",
    "build",
    "chain_program",
    "clean",
    "code_program",
    "column_program",
    "dense_program",
    "fits",
    "forget",
    "gru",
    "instructions",
    "kronecker_program",
    "library_path",
    "lstm",
    "product",
    "ready",
    "slot_program",
    "spread_program",
    "status",
    "sum_program",
]
