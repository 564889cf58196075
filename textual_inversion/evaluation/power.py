"""How many concepts a paired t-test needs. scipy.stats has no power of tests, and statsmodels is not a dependency."""

from scipy.special import nctdtr, ndtri, stdtrit

POWER = 0.8  # the wanted probability that a claim that is true is found to be true
FEWEST = 3  # minimal number of units for an interval


def power(effect: float, n: int, tail: float = 0.025) -> float:
    """Return the probability that a t-test over `n` differences finds their mean above 0. `effect` is the true mean,
    in standard deviations of the differences. `tail` is the probability of finding that with an effect of 0: 0.025
    for a 95% interval, of which one end counts."""
    return float(1.0 - nctdtr(n - 1, n**0.5 * effect, stdtrit(n - 1, 1.0 - tail)))


def concepts_needed(distance: float, spread: float, sides: int = 1) -> int:
    """Return the smallest number of concepts whose 95% interval excludes a mean at `distance` from the true one, with
    probability `POWER`. `spread` is the standard deviation of the differences between concepts. With two `sides`, a
    mean at that distance is excluded on both; each side then fails half as often, which is enough for both to hold."""
    if spread <= 0.0:
        return FEWEST
    effect, wanted = distance / spread, 1.0 - (1.0 - POWER) / sides
    n = max(FEWEST, int(((ndtri(0.975) + ndtri(wanted)) / effect) ** 2))  # of a normal test, which needs fewer
    while power(effect, n) < wanted:
        n += 1
    return n
