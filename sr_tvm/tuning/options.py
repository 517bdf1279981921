"""The record of how a search is done. No TVM here."""

from __future__ import annotations

from dataclasses import dataclass

from sr_tvm.errors import SrTvmError
from sr_tvm.tuning.genetic import GeneticSettings

GENERATION = 8  # children of one generation: small, so that short runs get beyond random search


@dataclass(frozen=True)
class TuneOptions:
    """How a search is done.

    Attributes:
        trials: candidates to measure, those of earlier runs in the same folder among them.
        seed: same seed, same first candidates.
        population: parents at most; by default that of ``settings``.
        threads: that kernels run on.
        settings: all options of the genetic search, which ``seed`` and ``population`` do not touch then.
        per_generation: children of one generation.
        max_seconds: stop after that, whatever is missing.
        pin: of a region whose default nothing beats, record that default.

    Raises:
        SrTvmError: a field is out of range; the message names it.
    """

    trials: int = 200
    seed: int = 0
    population: int | None = None
    threads: int = 1
    settings: GeneticSettings | None = None
    per_generation: int = GENERATION
    max_seconds: float | None = None
    pin: bool = False

    def __post_init__(self) -> None:
        for name in ("trials", "threads", "per_generation"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SrTvmError(f"tuning option {name} is {value!r}; a whole number from 1 is allowed")
        self.genetic()

    def genetic(self) -> GeneticSettings:
        """Derive the settings of the genetic search.

        A small population has a small elite, and at most itself in a tournament.

        Returns:
            ``settings`` where they are given, else the usual ones with ``seed`` and ``population``.

        Raises:
            SrTvmError: ``population`` or ``seed`` is out of range.
        """
        if self.settings is not None:
            return self.settings
        plain = GeneticSettings(seed=self.seed)
        if self.population is None:
            return plain
        small = isinstance(self.population, int) and self.population >= 1
        return GeneticSettings(
            self.population,
            min(plain.elite, self.population // 4) if small else plain.elite,
            min(plain.tournament, self.population) if small else plain.tournament,
            seed=self.seed,
        )
