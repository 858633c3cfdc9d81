"""An intent model with no vocabulary is trained on raw bytes, exported whole and run from its file.

Give a folder like that of ATIS: ``train`` and ``test``, each with a text on every line of
``seq.in`` and its intent on the same line of ``label``.
"""

import os
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import structlin as sl
from structlin.networks import ProjectionRNN
from structlin.text import Grams, TextProjection, encode

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
ATIS = Path(os.environ.get("STRUCTLIN_DATA") or BESIDE) / "atis"
SIZE, BATCH, EPOCHS = 256, 64, 8
WORDS = TextProjection(Grams("words", (1,), limit=48), 128, "ternary", "real", per="gram")


def read(folder):
    """The texts and the intents of a folder."""
    return [
        (folder / name).read_text(encoding="utf-8").splitlines() for name in ("seq.in", "label")
    ]


def train(model, params, data, lengths, labels):
    """The parameters after some epochs."""
    count = len(labels) // BATCH * BATCH
    rate = optax.cosine_decay_schedule(4e-3, EPOCHS * count // BATCH)
    optimiser = optax.adam(rate)

    @jax.jit
    def step(params, state, key, rows):
        def loss(params):
            drop = {"dropout": key}
            logits = model.apply(params, data[rows], lengths[rows], train=True, rngs=drop)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

        updates, state = optimiser.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = optimiser.init(params)
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(labels))[:count].reshape(-1, BATCH)
        for key, rows in zip(
            jax.random.split(jax.random.key(epoch), len(order)), order, strict=True
        ):
            params, state = step(params, state, key, rows)
    return params


def main():
    """Trains, exports, and measures what the file says of the test texts."""
    folder = Path([*sys.argv, ATIS][1])
    if not (folder / "train" / "seq.in").is_file():
        sys.exit(f"There is no {folder / 'train' / 'seq.in'}: give a folder like that of ATIS.")
    texts, intents = read(folder / "train")
    names = sorted(set(intents))
    data, lengths = map(jnp.asarray, encode(texts, SIZE))
    labels = jnp.asarray([names.index(i) for i in intents])

    model = ProjectionRNN(len(names), WORDS, embed=32, features=32, bidirectional=True, dropout=0.3)
    params = jax.jit(model.init)(jax.random.key(0), data[:1], lengths[:1])
    params = train(model, params, data, lengths, labels)
    print(f"{sl.matrices.cost(params).params:,} numbers for {len(names)} intents")

    def intent(data, lengths):
        return jnp.argmax(jnp.asarray(model.apply(params, data, lengths)), axis=-1)

    (batch,) = jax.export.symbolic_shape("batch")
    shapes = (
        jax.ShapeDtypeStruct((batch, SIZE), jnp.uint8),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "intents.jax"
        file.write_bytes(jax.export.export(jax.jit(intent))(*shapes).serialize())
        loaded = jax.export.deserialize(bytearray(file.read_bytes()))

        texts, intents = read(folder / "test")
        found = [names[i] for i in np.asarray(loaded.call(*encode(texts, SIZE)))]
        right = np.mean([a == b for a, b in zip(found, intents, strict=True)])
        print(f"{file.stat().st_size:,} bytes take raw text; {right:.1%} of {len(texts)} are right")


if __name__ == "__main__":
    main()
