"""A picture of a matrix, from some of its rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["plot"]

SIDE = 400
"""The most pixels to a side; a larger matrix is drawn in bins."""

SHADES = ("#d3e6f0", "#6fb1d1", "#2274a5", "#12406b", "#0a1b33")
"""Small to large; the smallest differs from the white of zeros."""

AT_ONCE = 1 << 22
"""The most numbers to hold at a time."""


def plot(matrix: Any, ax: Any = None, path: Any = None) -> Any:
    """Draws ``matrix`` on ``ax``; documented at `Matrix.plot`.

    A pixel that stands for many entries shows the largest; of many rows to a pixel, four are read.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"plot needs matplotlib ({error.name} is missing): pip install 'structlin[plot]'"
        ) from error
    m, n = matrix.shape
    if ax is None:
        # A wide matrix gets a wide picture, within reason; only a shown one is pyplot's to keep.
        ratio = min(max(m / n, 0.25), 2.5)
        size = (6.4, 1.5 + 5 * ratio) if ratio <= 1 else (1.9 + 5 / ratio * 1.1, 6.2)
        new = pyplot.figure if path is None else Figure
        ax = new(figsize=size, layout="constrained").subplots()
    image = _bins(matrix)
    shown = ax.imshow(
        np.ma.masked_equal(image, 0),
        cmap=LinearSegmentedColormap.from_list("magnitude", SHADES).with_extremes(bad="white"),
        vmin=0,
        vmax=float(image.max(initial=0)) or 1,
        extent=(-0.5, n - 0.5, m - 0.5, -0.5),
        interpolation="nearest",
        aspect="equal" if 0.25 <= m / n <= 2.5 else "auto",
    )
    name, _, rest = repr(matrix).partition("(")
    parts = rest.removesuffix(")").split(": ")
    ax.set_title(
        f"{name}: {parts[1]}" if len(parts) > 1 else name, fontsize=11, loc="left", wrap=True
    )
    ax.set_xlabel(parts[0], fontsize=8, color="0.35")
    ax.tick_params(labelsize=7, color="0.6", labelcolor="0.35", length=2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    ax.spines[:].set_color("0.8")
    bar = ax.figure.colorbar(shown, cax=ax.inset_axes((1.02, 0, 0.03, 1)))
    bar.set_label("magnitude", fontsize=8, color="0.35")
    bar.ax.tick_params(labelsize=7, color="0.6", labelcolor="0.35", length=2)
    bar.outline.set_visible(False)
    if path is not None:
        ax.figure.savefig(path, dpi=150)
    return ax


def _bins(matrix: Any) -> np.ndarray:
    """Magnitudes, at most ``SIDE`` to a side: the largest in each bin of the rows read."""
    m, n = matrix.shape
    high, wide = min(m, SIDE), min(n, SIDE)
    edges = np.arange(high) * m // high
    ends = np.append(edges[1:], m)
    # Even steps within a bin would meet every second entry of a periodic pattern, or none.
    rng = np.random.default_rng(0)
    each = int(min(4, max(ends - edges)))
    rows = [
        np.resize(rng.permutation(np.arange(a, b))[:each], each)
        for a, b in zip(edges, ends, strict=True)
    ]
    columns = np.arange(wide) * n // wide
    image = np.zeros((high, wide), np.float32)
    part = max(1, AT_ONCE // (each * n))
    for start in range(0, high, part):
        wanted = np.stack(rows[start : start + part])
        found = np.asarray(_magnitudes(matrix, jnp.asarray(wanted)))
        image[start : start + part] = np.maximum.reduceat(found, columns, axis=1)
    return np.nan_to_num(image)


@jax.jit
def _magnitudes(matrix: Any, rows: jax.Array) -> jax.Array:
    """The largest magnitude of each column in each group of ``rows`` ``(groups, each)``."""
    found = matrix._take(rows)
    return jnp.max(jnp.abs(found.astype(jnp.promote_types(found.dtype, jnp.float32))), axis=1)
