"""How each structure trains: its specs, what prunes it, what keeps its parts apart, its rate."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

import structlin as sl
from structlin import specs
from structlin.matrices import Masked, Sum

__all__ = [
    "CONTENDERS",
    "EARLY_DROPOUT",
    "RATE_NAMES",
    "Recipe",
    "Schedule",
    "contender",
    "doped",
    "doped_kron",
    "prepared",
]

CLIP, WARM_UP, EVERY = 1.0, 100, 20
PRUNED, HOST_SHARE, LARGE_HOST_SHARE = 0.6, 1 / 3, 2 / 3
_UNTIL: dict[str, Any] = {"pruned": PRUNED}
EARLY_DROPOUT = 0.05
RATE_NAMES = {0.5: ", half the rate", 1.0: "", 2.0: ", twice the rate"}
"""What a row's name says of its rate, by the factor over the usual one."""
"""The rate of co-matrix dropout with which learning rates and recipes were compared."""

NEEDED = ("learning_rate",)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long a model trains.

    Attributes:
        steps: Updates.
        learning_rate: Its peak, after a short warm-up; it falls along half a cosine to a 20th.
    """

    steps: int
    learning_rate: float

    def __call__(self) -> optax.Schedule:
        """The learning rate at a step."""
        peak, warm = self.learning_rate, min(WARM_UP, self.steps // 4)
        return optax.warmup_cosine_decay_schedule(0.0, peak, warm, self.steps, peak / 20)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A structure and how it trains.

    Attributes:
        spec: Of a kernel, for a compression in bytes; ``None`` for dense ones.
        learning_rate: The best peak of training_rates.json, after a quarter of the steps.
        begin: The share of the steps at which its sparse part begins to be pruned.
        pruned: The share of the steps after which it has its density: 0 where its support is fixed,
            ``None`` where it has none.
        dropout: The rate of co-matrix dropout at the start; it falls to 0 as pruning ends.
        constant: Whether that rate stays until pruning ends instead.
        variant: Further arguments of `structlin.train.co_matrix_dropout`.
        alternating: After how many steps the structured and the sparse part take turns to train; 0:
            they train together.
        scaled: Whether updates are scaled by `structlin.train.structured_learning_rates`.
        spectral: Whether factors start as `structlin.train.spectral_init` has them.
        scales: What both parts of a doped matrix are multiplied by at the start; the spec draws
            the second at a tenth of a dense kernel's scale.
        distilled: The weight of the dense model's softened predictions in the loss.
        sparsify: Further arguments of `structlin.train.sparsify`; a key as its seed.
    """

    spec: Callable[[float], specs.Spec | None]
    learning_rate: float = 1.2e-2
    begin: float = 0.0
    pruned: float | None = None
    dropout: float = 0.0
    constant: bool = False
    variant: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    alternating: int = 0
    scaled: bool = False
    spectral: bool = False
    scales: tuple[float, float] = (1.0, 1.0)
    distilled: float = 0.0
    sparsify: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def described(self, compression: float) -> dict[str, Any]:
        """What of it is not left at its default, for JSON, at a compression."""
        plain, spec = Recipe(self.spec), self.spec(compression)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        told = {k: v for k, v in fields.items() if k in NEEDED or v != getattr(plain, k)}
        if "dropout" in told:  # models have a dropout of their own
            told["co_matrix_dropout"] = told.pop("dropout")
        return told | {"spec": spec and json.loads(spec.to_json())}

    def optimiser(self, params: Any, schedule: Schedule) -> Any:
        """Adam on clipped gradients; it prunes where there is something to prune."""
        adam = optax.scale_by_adam()
        if self.alternating:
            turns = {".*/sparse/.*": 1, ".*/kernel/.*": 0}
            adam = sl.train.alternate(adam, turns, every=self.alternating)
        scaled = sl.train.structured_learning_rates(params) if self.scaled else optax.identity()
        clip, rate = optax.clip_by_global_norm(CLIP), optax.scale_by_learning_rate(schedule())
        trained = optax.chain(clip, adam, scaled, rate)
        if self.pruned is None:
            return trained
        begin, end = (int(share * schedule.steps) for share in (self.begin, self.pruned))
        options = {"begin": begin, "end": end, "every": EVERY, **self.sparsify}
        if "key" in options:
            options["key"] = jax.random.key(options["key"])
        return sl.train.sparsify(trained, sl.train.targets(params), **options)

    def started(self, params: Any) -> Any:
        """Random parameters as this recipe has them at the start."""
        if self.spectral:
            params = sl.train.spectral_init(params)
        if self.scales != (1.0, 1.0):
            params = jax.tree.map(self._scaled, params, is_leaf=_is_sum)
        return params

    def _scaled(self, leaf: Any) -> Any:
        if not _is_sum(leaf):
            return leaf
        host, co = self.scales
        terms = (t * (co if isinstance(t, Masked) else host) for t in leaf.terms)
        return Sum(tuple(terms))

    def to_go(self, step: int, steps: int) -> float:
        """How far the pruning has yet to go at a step, from 1 to 0."""
        begin, end = (share * steps for share in (self.begin, self.pruned or 0))
        if end <= begin:
            return 0.0
        return min(1.0, max(0.0, (end - step) / (end - begin)))


def _is_sum(node: Any) -> bool:
    return isinstance(node, Sum)


def prepared(recipe: Recipe, params: Any, key: jax.Array, to_go: jax.Array) -> Any:
    """The parameters as a step of training uses them: with dropout, and what is sparse formed."""
    if recipe.dropout:
        scale = (to_go > 0) if recipe.constant else to_go
        rate = recipe.dropout * scale.astype(jnp.float32)
        params = sl.train.co_matrix_dropout(params, key, rate, **recipe.variant)
    return params if recipe.pruned is None else sl.densify(params)  # one product instead of two


def doped_kron(block: tuple[int, int] = (1, 1), *, anneal: bool = True, **options: Any) -> Recipe:
    """A doped Kronecker product, of which all that is left over is in the co-matrix."""

    def spec(compression: float) -> specs.Spec:
        return specs.DopedKron(compression=compression, block=block, anneal=anneal)

    return Recipe(spec, **_UNTIL | options)


def doped(
    host: Callable[[float], specs.Spec],
    *,
    share: float = HOST_SHARE,
    anneal: bool = True,
    **options: Any,
) -> Recipe:
    """A doped ``host``, which takes a ``share`` of the bytes."""

    def spec(compression: float) -> specs.Spec:
        given = host(compression / share)
        return specs.Doped(given, compression=compression, anneal=anneal)

    return Recipe(spec, **_UNTIL | options)


def _kron(compression: float) -> specs.Spec:
    return specs.Kron(compression=compression)


def _low_rank(compression: float) -> specs.Spec:
    return specs.LowRank(compression=compression)


def _hmd(compression: float) -> specs.Spec:
    """One for each gate, or the dense columns would all fall to the first."""
    return specs.PerGate(specs.HMD(compression=compression))


CONTENDERS = {
    "Dense": Recipe(lambda _: None, 6e-3),
    "DopedKron": doped_kron(),
    "Doped LowRank": doped(_low_rank),
    "Doped HMD": doped(_hmd),
    "DopedKron, 16 x 1 blocks": doped_kron((1, 16)),
    "Sparse": Recipe(lambda c: specs.Sparse(compression=c, anneal=True), pruned=PRUNED),
    "Sparse, fixed support": Recipe(lambda c: specs.Sparse(compression=c), 2.4e-2, pruned=0.0),
    "Doped LowRank, fixed support": doped(_low_rank, anneal=False, pruned=0.0),
    "LowRank": Recipe(_low_rank, 6e-3),
    "HMD": Recipe(_hmd),
    "Kron": Recipe(_kron, 2.4e-2),
    "DopedKron, large host": doped(_kron, share=LARGE_HOST_SHARE),
    "DopedKron, large host, fixed support": doped(
        _kron, share=LARGE_HOST_SHARE, anneal=False, pruned=0.0, learning_rate=2.4e-2
    ),
}
"""By name, without co-matrix dropout, of which training_co_matrix.json says why; blocks of 16 x 1
are 16 outputs that share an input: ``(1, 16)`` of a kernel."""


def contender(name: str, **changes: Any) -> Recipe:
    """One of `CONTENDERS` with changes; doped ones have `EARLY_DROPOUT` unless told another."""
    found = CONTENDERS[name]
    early = {"dropout": EARLY_DROPOUT} if name.startswith("Doped") and found.pruned else {}
    return dataclasses.replace(found, **early | changes)
