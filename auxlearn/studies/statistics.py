"""What a few paired runs can say: means with intervals, paired differences, exact tests. By scipy, the extra `[study]`.

Runs of one seed share what they draw, so that two arms are compared seed by seed: the difference of a pair is free of
all that both have in common, and far fewer seeds are needed than for two separate means.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from auxlearn.errors import EnvironmentProblem, Problem

__all__ = ["LEVEL", "MOST_EXACT", "Difference", "Estimate", "estimate", "holm", "paired", "require_extra", "smallest_p"]

LEVEL = 0.95
MOST_EXACT = 16  # pairs; beyond, as many random choices of signs as those have stand for all of them
# Of the largest score: what rounding to float32, as metrics are, can do to a difference of two of them, twice over.
_ROUNDING = 4 * float(np.finfo(np.float32).eps)
_PACKAGES = ("scipy", "matplotlib")


def require_extra(packages: Sequence[str] = _PACKAGES) -> None:
    """Raise an EnvironmentProblem with the line that helps if something of the extra `[study]` is missing."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError:
            what = f"studies need the package {package}, which is not installed"
            raise EnvironmentProblem(Problem(what=what, fix='pip install "auxlearn[study]"', exit_code=8)) from None


@attrs.frozen(kw_only=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: The mean.
        error: Its standard error; None for a single value.
        low, high: The interval of Student's t that covers the true mean with probability 0.95; None likewise.
        count: Of how many values.
    """

    mean: float
    error: float | None
    low: float | None
    high: float | None
    count: int


@attrs.frozen(kw_only=True)
class Difference(Estimate):
    """A mean of paired differences: an `Estimate`, and a test.

    Attributes:
        p: Two-sided p-value of the permutation test: how often signs drawn at random put the mean at least as far
            from 0.
        p_holm: The same, corrected for the number of comparisons made; as `p` until they are known.
    """

    p: float
    p_holm: float

    @property
    def sign(self) -> int:
        """1 or -1 if the interval lies above or below 0, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of `values` with its interval.

    Examples:
        >>> from auxlearn.studies.statistics import estimate
        >>> found = estimate([0.40, 0.44, 0.42])
        >>> round(found.mean, 3), round(found.error, 4), round(found.low, 3), round(found.high, 3)
        (0.42, 0.0115, 0.37, 0.47)
    """
    from scipy import stats

    # Sorted, so that not a bit depends on the order of the seeds; from the first, so that equal values have no spread.
    array = np.sort(np.asarray(values, dtype=np.float64))
    count, rest = len(array), array - array[0]
    mean = float(array[0] + rest.mean())
    if count < 2:
        return Estimate(mean=mean, error=None, low=None, high=None, count=count)
    error = float(stats.sem(rest))
    reach = error * float(stats.t.ppf((1 + LEVEL) / 2, count - 1))
    return Estimate(mean=mean, error=error, low=mean - reach, high=mean + reach, count=count)


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Return the mean difference from `baseline` over the seeds that both have; None if there is none.

    The test is the exact permutation test of paired samples: if the arm made no difference, the sign of each difference
    could as well be the other one, so the observed mean is ranked among those of all 2^n choices of signs (with more
    than 16 pairs: of 65 536 random ones, the same each time, and the observed one). It assumes no distribution.

    Scores that are shares of few rows give ties: other signs with just the observed mean, which count as so far from 0.
    Means that differ by no more than scores rounded to float32 can are therefore taken for equal.

    Args:
        values: The values of the arm by seed.
        baseline: Those of the baseline.

    Examples:
        >>> from auxlearn.studies.statistics import paired
        >>> found = paired({0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.4, 1: 0.4, 2: 0.6})
        >>> round(found.mean, 3), found.p
        (0.133, 0.25)
    """
    seeds = values.keys() & baseline.keys()
    if not seeds:
        return None
    differences = sorted(values[seed] - baseline[seed] for seed in seeds)
    largest = max(abs(one[seed]) for one in (values, baseline) for seed in seeds)
    p = _sign_flips(np.asarray(differences), _ROUNDING * largest)
    return Difference(**attrs.asdict(estimate(differences)), p=p, p_holm=p)


def _sign_flips(differences: np.ndarray, tolerance: float) -> float:
    """Return for how many choices of signs the mean is, up to `tolerance`, at least as far from 0."""
    from scipy import stats

    if len(differences) == 1:  # both signs are equally far from 0
        return 1.0
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**MOST_EXACT,
        random_state=np.random.default_rng(0),
    )
    as_far = np.abs(found.null_distribution) >= abs(found.statistic) - tolerance
    # All choices hold the observed one; to random ones it is added ("Permutation p-values should never be zero",
    # Phipson & Smyth 2010).
    added = len(differences) > MOST_EXACT
    return float((as_far.sum() + added) / (as_far.size + added))


def smallest_p(pairs: int) -> float:
    """Return the smallest p-value that so many pairs can give: all signs alike, of 2^n choices, or none as far.

    >>> smallest_p(5), smallest_p(6)
    (0.0625, 0.03125)
    """
    return 2.0 ** (1 - pairs) if pairs <= MOST_EXACT else 1.0 / (2**MOST_EXACT + 1)


def holm(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with their p-values corrected for their number by Holm's method.

    "A simple sequentially rejective multiple test procedure" (Holm 1979): the smallest p-value counts m-fold, the next
    one (m - 1)-fold, and none less than one before it. The chance of even one false finding is then at most that of a
    single test.

    Examples:
        >>> from auxlearn.studies.statistics import holm, paired
        >>> one = paired({0: 1.0, 1: 1.0, 2: 2.0}, {0: 0.0, 1: 0.0, 2: 0.0})
        >>> [found.p_holm for found in holm([one, one])]
        [0.5, 0.5]
    """
    order = sorted(range(len(differences)), key=lambda index: differences[index].p)
    corrected, before = list(differences), 0.0
    for rank, index in enumerate(order):
        before = max(before, min(1.0, (len(order) - rank) * differences[index].p))
        corrected[index] = attrs.evolve(differences[index], p_holm=before)
    return corrected
