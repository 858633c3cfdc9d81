"""Whether the host and the jitted code make the same bits of any text, by random ones.

``python tests/same_features.py 10000`` tries as many; ``test_text.py`` tries a few hundred.
"""

import functools
import sys

import conftest  # noqa: F401 (the settings of the tests)
import jax
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structlin.text import Grams, TextProjection, encode

SIZE = 24
GRAMS = (
    Grams("characters", (1, 2, 3), skips=2),
    Grams("characters", (2,), limit=5, lowercase=False),
    Grams("words", (1, 2), skips=1),
)
PROJECTIONS = (
    TextProjection(GRAMS[0], 10),
    TextProjection(GRAMS[2], 10, "uniform", "real", seed=1),
    TextProjection(GRAMS[1], 6, "sign", "ternary", "word", (3, 4)),
    TextProjection(GRAMS[2], 6, "ternary", "real", "gram"),
)
SURROGATES = st.characters(categories=["Cs"])
TEXTS = st.one_of(
    st.text(st.characters() | SURROGATES),
    st.text("aAbZé日 \u3000\t\n\u200d\U0001f600\ud800"),
    st.binary(max_size=2 * SIZE),
)


@functools.cache
def jitted():
    return jax.jit(lambda *text: [f(*text) for f in (*GRAMS, *PROJECTIONS)])


def check(text):
    """Raises unless both ways agree on one text."""
    (data,), (length,) = encode([text], SIZE)
    found = jax.tree.map(np.asarray, jitted()(data, length))
    cut = bytes(data[:length])
    for grams, (ids, there) in zip(GRAMS, found, strict=False):
        np.testing.assert_array_equal(ids[there > 0], grams.on_host(cut), strict=True)
    for projection, pair in zip(PROJECTIONS, found[len(GRAMS) :], strict=True):
        for ours, hosts in zip(pair, projection.on_host([text], SIZE), strict=True):
            np.testing.assert_array_equal(ours, hosts[0], strict=True)


def check_many(count):
    """Raises unless both ways agree on each of ``count`` random texts."""
    none = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    settings(max_examples=count, **none)(given(TEXTS)(check))()


if __name__ == "__main__":
    check_many(int([*sys.argv, 10_000][1]))
    print("the host and the jitted code agree bit for bit")
