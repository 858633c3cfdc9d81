"""Counts what eight devices tell each other in one training step of a language model.

    python benchmarks/collectives.py         # writes benchmarks/results/collectives.json

Every step (the loss and its gradient) is compiled for eight devices of this machine's CPU and its
program is read, not run: the collectives, the numbers in what they make, and the temporary memory
of a device. What is in the body of a loop is counted once and apart, since it runs once a turn.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import structlin as sl
from structlin import bench
from structlin.specs import BlockLowRank, DopedKron, Kron, LowRank, Spec

RESULTS = Path(__file__).resolve().parent / "results"
WORDS, FEATURES, BATCH, STEPS = 10_000, 256, 64, 35
SEED = 0

COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) .*\{$", re.MULTILINE)
CALLED = re.compile(r"\b(body|condition|to_apply|calls)=%?([\w.-]+)")
SHAPE = re.compile(r"\w+\[([\d,]*)\]")


class Model(nn.Module):
    """Scores of the next word, by the embedding itself or by a head of its own."""

    embedding: Spec | None
    input: Spec | None
    recurrent: Spec | None
    head: Spec | None = None

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        """``(batch, steps)`` -> ``(batch, steps, WORDS)``."""
        embed = sl.Embed(WORDS, FEATURES, spec=self.embedding, name="embed")
        cell = sl.LSTMCell(FEATURES, input=self.input, recurrent=self.recurrent, name="cell")
        states = sl.RNN(cell)(embed(ids))
        attend = embed.attend if self.head is None else sl.Dense(WORDS, spec=self.head, name="head")
        return attend(states)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and how it lies on the mesh: path of a parameter -> the axes that split it."""

    table: str
    name: str
    model: Model
    split: Mapping[str, P] = dataclasses.field(default_factory=dict)
    mesh: tuple[int, int] = (4, 2)  # data, model
    set_mesh: bool = True
    packed: bool = False


def cases() -> Iterator[Case]:
    """All rows of the result file."""
    low, kron, doped = LowRank(compression=10), Kron(compression=10), DopedKron(compression=10)
    models = {
        "dense, dense, dense": Model(None, None, None),
        "low rank, low rank, doped Kronecker in training": Model(low, low, doped),
        "low rank, low rank, Kronecker": Model(low, low, kron),
    }
    for table, set_mesh in (("data", True), ("without set_mesh", False)):
        for name, model in models.items():
            yield Case(table, name, model, mesh=(8, 1), set_mesh=set_mesh)

    rows, columns = P("model"), P(None, "model")
    left = {"embed/embedding/left": rows}
    head = {"head/kernel/right": columns, "head/bias": rows}
    wide = Kron(shapes=((100, 16), (100, 16)))
    groups = BlockLowRank(groups=(2000, 8000), ranks=(64, 16))
    vocabulary = (
        ("`LowRank`, on every device", low, {}),
        ("`LowRank`, tied", low, left),
        ("`LowRank`, a head of its own", low, left | head),
        (f"`Kron(shapes={wide.shapes})`, tied", wide, {"embed/embedding/factors/0": rows}),
        ("dense, tied", None, {"embed/embedding": rows}),
        ("`BlockLowRank`, two groups, tied", groups, {"embed/embedding/lefts/.": rows}),
    )
    for name, table, split in vocabulary:
        own = low if "head/bias" in split else None
        yield Case("vocabulary", name, Model(table, low, kron, own), split)

    trained = Model(low, low, doped)
    sparse = left | {"cell/h/kernel/sparse/.*": columns}
    factor = left | {"cell/h/kernel/factors/0": columns}
    yield Case("recurrent", "doped Kronecker, packed", trained, left, packed=True)
    yield Case("recurrent", "doped Kronecker, packed", trained, sparse, packed=True)
    yield Case("recurrent", "doped Kronecker in training", trained, sparse)
    yield Case("recurrent", "Kronecker", Model(low, low, kron), factor)


def compiled(case: Case) -> tuple[jax.stages.Compiled, int]:
    """The program of one step with its gradient, and how many numbers it trains."""
    mesh = jax.make_mesh(case.mesh, ("data", "model"), axis_types=(AxisType.Auto,) * 2)

    def on(x: Any, spec: P) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    def placed(path: Any, x: jax.Array) -> jax.ShapeDtypeStruct:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return on(x, next((s for p, s in case.split.items() if re.fullmatch(p, name)), P()))

    def loss(trained: Any, fixed: Any, ids: jax.Array) -> jax.Array:
        scores: Any = case.model.apply({"params": sl.combine(trained, fixed)}, ids[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(scores, ids[:, 1:]).mean()

    params = case.model.init(jax.random.key(SEED), np.zeros((1, STEPS), np.int32))["params"]
    params = sl.pack(params) if case.packed else params
    trained, fixed = sl.partition(jax.tree_util.tree_map_with_path(placed, params))
    ids = on(np.zeros((BATCH, STEPS + 1), np.int32), P("data"))
    where = jax.tree.map(lambda x: x.sharding, trained)
    with jax.set_mesh(mesh) if case.set_mesh else contextlib.nullcontext():
        step = jax.jit(jax.value_and_grad(loss), out_shardings=(None, where))
        program = step.lower(trained, fixed, ids).compile()
    return program, sum(x.size for x in jax.tree.leaves(trained))


def collectives(text: str) -> Iterator[tuple[str, int, bool]]:
    """Kind, numbers in what it makes, and whether it is in a loop, of each in a program's text."""
    looped: set[str] = set()
    for block in reversed(text.split("\n\n")):  # who is called stands before who calls
        name = COMPUTATION.search(block)
        inside = name is not None and name[1] in looped
        looped |= {other for how, other in CALLED.findall(block) if inside or how == "body"}
        for made, kind in COLLECTIVE.findall(block):
            shapes = ([int(n) for n in s.split(",") if n] for s in SHAPE.findall(made))
            yield kind, sum(map(math.prod, shapes)), inside


def measure(case: Case) -> dict[str, Any]:
    """The row of one case."""
    program, parameters = compiled(case)
    memory: Any = program.memory_analysis()
    found: dict[bool, dict[str, dict[str, int]]] = {False: {}, True: {}}
    for kind, numbers, looped in collectives(program.as_text() or ""):
        entry = found[looped].setdefault(kind, {"count": 0, "numbers": 0})
        entry["count"] += 1
        entry["numbers"] += numbers
    print(f"{case.table}, {case.name}: {found[False]}, in loops {found[True]}", file=sys.stderr)
    return {
        "table": case.table,
        "model": case.name,
        "mesh": {"data": case.mesh[0], "model": case.mesh[1]},
        "split": {path: list(spec) for path, spec in case.split.items()},
        "set_mesh": case.set_mesh,
        "parameters": parameters,
        "collectives": found[False],
        "collectives_in_loops": found[True],
        "temporary_bytes": memory.temp_size_in_bytes,
    }


def main() -> None:
    """Measures and writes the result file."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    sizes = {"words": WORDS, "features": FEATURES, "batch": BATCH, "steps": STEPS}
    made = {"devices": jax.device_count(), "seed": SEED, "sizes": sizes}
    result = bench.header("python benchmarks/collectives.py", ("jax", "flax"), **made)
    result |= {"rows": [measure(case) for case in cases()]}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "collectives.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
