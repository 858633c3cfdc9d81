"""A structured language model trained on every device there is, of one process or of several.

``python examples/08_distributed.py`` runs on one machine. Of several processes, on one machine or
on many, each is told the same address, how many they are, and which it is:

    python examples/08_distributed.py --coordinator 127.0.0.1:9876 --processes 2 --process 0
    python examples/08_distributed.py --coordinator 127.0.0.1:9876 --processes 2 --process 1

The text is the reference that every CPython carries.
"""

import argparse
import pydoc_data.topics

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import structlin as sl

HOST_DEVICES = 8  # all processes together, where there are no accelerators
BATCH, TIME = 16, 24
TEXT = "\n".join(pydoc_data.topics.topics.values()).encode("ascii", "replace")
BYTES = np.frombuffer(TEXT, np.uint8)[:100_000].astype(np.int32)


class Model(nn.Module):
    """Scores of the next byte; one structured table reads bytes and scores them."""

    @nn.compact
    def __call__(self, ids):
        embed = sl.Embed(128, 32, spec=sl.specs.Kron(shapes=((16, 4), (8, 8))))
        cell = sl.LSTMCell(32, recurrent=sl.specs.DopedKron(density=0.1, anneal=True))
        return embed.attend(sl.RNN(cell)(embed(ids)))


def loss_of(model, params, batch):
    """The mean loss of the next byte, in nats."""
    logits = model.apply({"params": params}, batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


def train(mesh: Mesh, steps: int = 20) -> list[float]:
    """The losses of ``steps`` steps, each on a batch that is split over ``mesh``."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    by_rows = NamedSharding(mesh, PartitionSpec("data"))
    model = Model()

    @jax.jit
    def step(params, state, batch):
        loss, grads = jax.value_and_grad(loss_of, 1)(model, params, batch)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    rng, losses = np.random.default_rng(0), []
    with jax.set_mesh(mesh):
        init = jax.jit(model.init, out_shardings=everywhere)  # the same on every process
        params = init(jax.random.key(0), np.zeros((1, TIME), np.int32))["params"]
        optimiser = sl.train.sparsify(optax.adam(1e-2), sl.train.targets(params), end=steps)
        state = optimiser.init(params)
        for _ in range(steps):
            starts = rng.integers(0, len(BYTES) - TIME, (BATCH, 1))  # the same on every process
            mine = np.split(starts, jax.process_count())[jax.process_index()]
            rows = BYTES[mine + np.arange(TIME + 1)]  # a process reads its share only
            batch = jax.make_array_from_process_local_data(by_rows, rows)
            params, state, loss = step(params, state, batch)
            losses.append(float(loss))
    return losses


def main():
    """Joins the other processes, if there are any, and trains with them."""
    parser = argparse.ArgumentParser(description="Trains on every device of every process.")
    parser.add_argument("--coordinator", help="address and port of process 0")
    parser.add_argument("--processes", type=int, default=1, help="how many there are")
    parser.add_argument("--process", type=int, default=0, help="which one this is, from 0")
    args = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", HOST_DEVICES // args.processes)
    if args.processes > 1:
        jax.distributed.initialize(
            args.coordinator, args.processes, args.process, initialization_timeout=60
        )
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    losses = train(mesh)
    if jax.process_index() == 0:
        print(f"{jax.device_count()} devices, {jax.process_count()} process(es)")
        print(*(f"step {i:2d} loss {loss:.7f}" for i, loss in enumerate(losses)), sep="\n")


if __name__ == "__main__":
    main()
