"""What a build is asked for."""

import dataclasses
from pathlib import Path

from structlin.builder._networks import SIZES, check_trainable
from structlin.specs import Spec

__all__ = ["DISTILL", "Settings"]

DISTILL = ("after", "joint", "none")
"""When a teacher learns: before the small networks, together with each, or not at all."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to build, and from what.

    Attributes:
        data: A file of examples, as `read` takes it.
        out: The folder of the models.
        sizes: Names of `SIZES`.
        valid: A file of examples to choose by; a tenth of the others if ``None``.
        test: A file of examples for the figures; those for validation if ``None``.
        distill: ``"after"``: a teacher is trained first, and used where it helps; ``"joint"``: one
            learns together with each network; ``"none"``.
        balance: How much rare labels count: 0 as often as they are there, 1 as much as any other.
        epochs: Passes over the examples; as many as suit their number if ``None``.
        spec: How kernels are made; as the size has them if ``None``.
        bytes_of_text: How many bytes of a text count.
        encoding: Of files of texts.
        seed: Of everything random.

    Raises:
        ValueError: When made, if a name is none of these or a number is out of range.
    """

    data: Path
    out: Path
    sizes: tuple[str, ...] = ("tiny", "small", "medium")
    valid: Path | None = None
    test: Path | None = None
    distill: str = "after"
    balance: float = 0.0
    epochs: int | None = None
    spec: Spec | None = None
    bytes_of_text: int = 256
    encoding: str = "utf-8"
    seed: int = 0

    def __post_init__(self) -> None:
        known = [name for name in SIZES if name != "teacher"]
        unknown = [name for name in self.sizes if name not in known]
        if unknown or not self.sizes:
            given = repr(unknown[0]) if unknown else "none"
            raise ValueError(f"The sizes are {', '.join(known)}; given {given}.")
        if self.distill not in DISTILL:
            raise ValueError(f"distill is one of {', '.join(DISTILL)}; given {self.distill!r}.")
        if not 0 <= self.balance <= 1:
            raise ValueError(f"balance is between 0 and 1; given {self.balance}.")
        least = min(self.bytes_of_text, 1 if self.epochs is None else self.epochs)
        if least < 1 or self.seed < 0:
            raise ValueError(
                "bytes and epochs are at least 1 and a seed at least 0; given "
                f"{self.bytes_of_text}, {self.epochs} and {self.seed}."
            )
        if self.spec is not None:
            check_trainable(self.spec)
