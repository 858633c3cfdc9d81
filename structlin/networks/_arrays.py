"""Networks that project arrays: inputs as they are, or what convolutions make of them."""

import flax.linen as nn
import jax

from structlin.linen import Dense, Projection
from structlin.specs import Spec

__all__ = ["Head", "ProjectionCNN", "ProjectionNet"]


class Head(nn.Module):
    """Dense layers with rectifiers between them, ``(..., in)`` to logits ``(..., classes)``.

    Attributes:
        classes: How many logits.
        hidden: The sizes of the layers before.
        spec: How the kernels of those are made; ``None`` for dense ones.
        dropout: The rate after each of those, in training.
    """

    classes: int
    hidden: tuple[int, ...] = ()
    spec: Spec | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        for size in self.hidden:
            x = nn.relu(Dense(size, spec=self.spec)(x))
            x = nn.Dropout(self.dropout)(x, deterministic=not train)
        return Dense(self.classes)(x)


class ProjectionNet(nn.Module):
    """Dense layers on the signs of random projections of the inputs.

    `structlin.train.distill` is the loss by which it learns together with a larger network.

    Attributes:
        classes: How many logits.
        functions: T.
        bits: d; the network sees ``T d`` signs.
        hidden: The sizes of the layers between them and the logits.
        spec: How the kernels of those are made; ``None`` for dense ones.
        seed: Which of the random matrices.

    Reference:
        Ravi (2017), "ProjectionNet: learning efficient on-device deep networks using neural
        projections".
    """

    classes: int
    functions: int = 60
    bits: int = 10
    hidden: tuple[int, ...] = ()
    spec: Spec | None = None
    seed: int = 0

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """The logits ``(..., classes)`` of inputs ``(..., in)``."""
        bits = Projection(self.functions, self.bits, seed=self.seed)(inputs)
        return Head(self.classes, self.hidden, self.spec, name="head")(bits)


class ProjectionCNN(nn.Module):
    """Convolutions, signs of random projections of what they find, and dense layers.

    The convolutions learn through the signs, straight.

    Attributes:
        classes: How many logits.
        functions: T.
        bits: d.
        channels: Of each convolution of 3 x 3, which a maximum over 2 x 2 follows.
        hidden: The sizes of the layers between the signs and the logits.
        spec: How the kernels of those are made; ``None`` for dense ones.
        seed: Which of the random matrices.

    Reference:
        Ravi (2019), "Efficient on-device models using neural projections", for the idea. The sizes
        and the gradient through the projection are our own.
    """

    classes: int
    functions: int = 60
    bits: int = 12
    channels: tuple[int, ...] = (32, 64)
    hidden: tuple[int, ...] = (128,)
    spec: Spec | None = None
    seed: int = 0

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """The logits ``(batch, classes)`` of images ``(batch, height, width, channels)``."""
        x = images
        for size in self.channels:
            x = nn.max_pool(nn.relu(nn.Conv(size, (3, 3))(x)), (2, 2), (2, 2))
        # Rectified numbers have one sign: about their mean the projections are of both.
        x = x.reshape(len(x), -1)
        x = x - x.mean(axis=-1, keepdims=True)
        bits = Projection(self.functions, self.bits, seed=self.seed)(x)
        return Head(self.classes, self.hidden, self.spec, name="head")(bits)
