"""Special functions of numbers: error functions and the gamma family.

What happens at poles follows what is published for the service: digamma of 0 is minus infinity, erfInv of 1 infinity.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()
#: Coefficients of Lanczos' series with g = 607/128. Source: P. Godfrey, "A note on the computation of the convergent
#: Lanczos complex Gamma approximation", 2001.
_LANCZOS = (
    0.99999999999999709182, 57.156235665862923517, -59.597960355475491248, 14.136097974741747174,
    -0.49191381609762019978, 0.33994649984811888699e-4, 0.46523628927048575665e-4, -0.98374475304879564677e-4,
    0.15808870322491248884e-3, -0.21026444172410488319e-3, 0.21743961811521264320e-3, -0.16431810653676389022e-3,
    0.84418223983852743293e-4, -0.26190838401581408670e-4, 0.36899182659531622704e-5)
#: From here on the asymptotic series of digamma and trigamma are exact to rounding.
_FAR = 49.0
#: Terms of the incomplete gamma function's series at most; they are enough up to arguments of about 1e8.
_TERMS = 200_000


def _reciprocal(value: float) -> float:
    return math.inf if value == 0 else 1.0 / value


def erf_inverse(x: float) -> float:
    """Inverse of the error function; infinite at -1 and 1, NaN beyond."""
    if abs(x) >= 1 or x == 0 or math.isnan(x):
        return 0.0 if x == 0 else math.copysign(math.inf, x) if abs(x) == 1 else math.nan
    found = _NORMAL.inv_cdf((x + 1) / 2) / math.sqrt(2)
    slope = 2 / math.sqrt(math.pi) * math.exp(-found ** 2)
    return found - (math.erf(found) - x) / slope if slope > 1e-8 else found


def erfc_inverse(x: float) -> float:
    """Inverse of the complementary error function; infinite at 0, minus infinite at 2, NaN beyond."""
    if not 0 < x < 2:
        return math.inf if x == 0 else -math.inf if x == 2 else math.nan
    return erf_inverse(1 - x) if x > 0.5 else -_NORMAL.inv_cdf(x / 2) / math.sqrt(2)


def gamma(x: float) -> float:
    """Gamma function; infinite where it is too large, NaN at its poles."""
    try:
        return math.gamma(x)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def digamma(x: float) -> float:
    """Derivative of the gamma function's logarithm."""
    if not math.isfinite(x):
        return x if x > 0 else math.nan
    if x < -_FAR and not x.is_integer():
        return digamma(1 - x) - math.pi / math.tan(math.pi * x)
    if x < -_FAR:
        return -math.inf
    below = 0.0
    while x < _FAR:
        below += _reciprocal(x)
        x += 1
    square = 1 / (x * x)
    return math.log(x) - 0.5 / x - square * (1 / 12 - square * (1 / 120 - square / 252)) - below


def trigamma(x: float) -> float:
    """Derivative of digamma."""
    if not math.isfinite(x):
        return 0.0 if x > 0 else math.nan
    if x < -_FAR and not x.is_integer():
        return (math.pi / math.sin(math.pi * x)) ** 2 - trigamma(1 - x)
    if x < -_FAR:
        return math.inf
    below = 0.0
    while x < _FAR:
        below += _reciprocal(x * x)
        x += 1
    square = 1 / (x * x)
    return below + 1 / x + square / 2 + square / x * (1 / 6 - square * (1 / 30 - square / 42))


def lanczos(x: float) -> float:
    """Lanczos' series, the factor of the gamma function that tends to 1."""
    total = sum((coefficient * _reciprocal(x + i) for i, coefficient in reversed(list(enumerate(_LANCZOS)))
                 if i), 0.0)
    return total + _LANCZOS[0]


def gamma_incomplete(x: float, a: float) -> float:
    """Regularised lower incomplete gamma function P(a, x): 0 at ``x`` = 0; NaN for x < 0 and a <= 0."""
    if math.isnan(a) or math.isnan(x) or a <= 0 or x < 0:
        return math.nan
    if x == 0 or math.isinf(x):
        return 0.0 if x == 0 else 1.0
    front = math.exp(min(700.0, -x + a * math.log(x) - math.lgamma(a)))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _TERMS):
            term *= x / (a + n)
            total += term
            if term < total * 1e-17:
                break
        return min(1.0, front * total)
    # Lentz's continued fraction of the upper function.
    b = x + 1 - a
    c, d = math.inf, 1 / b
    fraction = d
    for n in range(1, _TERMS):
        factor = -n * (n - a)
        b += 2
        d = 1 / (factor * d + b or 1e-300)
        c = b + factor / c or 1e-300
        fraction *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return max(0.0, 1 - front * fraction)
