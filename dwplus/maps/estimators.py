"""Accuracy and areas of a map from a probability sample of it, for simple, stratified and two-stage designs. Pure.

Every figure is a ratio of two totals, estimated with the points' weights; its variance is that of the linearised ratio
within strata, or between the blocks of a two-stage sample (Stehman 2014, International Journal of Remote Sensing 35,
4923-4939, equations 23 to 28; Cochran 1977, Sampling Techniques, chapters 6, 10 and 11). Where the strata are the map's
classes these are the equations 1 to 11 of Olofsson et al. 2014 (Remote Sensing of Environment 148, 42-57).

With the map's own counts, weights are adjusted so that each map class has its known size (post-stratification): that is
what makes a sample of an earlier map, or a simple one, as good as it can be for this map.

Intervals by Wilson or Agresti and Coull take a variance that no stratum's unanimity can make zero: half a point of each
kind is thought to have been seen beside those of every stratum (Jeffreys). The printed standard errors are without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dwplus.maps.intervals import Z95, interval, t95


@dataclass(frozen=True)
class Points:
    """Labelled points.

    Attributes
    ----------
    stratum : (point,) 0.., of the draw. pixels : (stratum,) pixels of each. mapped, true : (point,) classes 0.. .
    cluster : (point,) draw of the block that a point lies in; None where points were drawn one by one.
    """

    stratum: np.ndarray
    pixels: np.ndarray
    mapped: np.ndarray
    true: np.ndarray
    cluster: np.ndarray | None = None

    def weights(self) -> np.ndarray:
        """Pixels that each point stands for, float (point,)."""
        if self.cluster is not None:
            # A block is drawn with a probability in proportion to its pixels: each draw speaks for an equal part of the
            # ground.
            _, draw, size = np.unique(self.cluster, return_inverse=True, return_counts=True)
            return np.asarray(self.pixels.sum() / len(size) / size[draw], float)
        size = np.bincount(self.stratum, minlength=len(self.pixels))
        return np.asarray(self.pixels[self.stratum] / size[self.stratum], float)


@dataclass(frozen=True)
class Figure:
    """An estimate of a share: its standard error, its 95 % interval, and the number of points it rests on."""

    value: float
    error: float
    low: float
    high: float
    points: int


@dataclass(frozen=True)
class Accuracy:
    """What a sample says.

    Attributes
    ----------
    matrix : (map class, true class) shares of the ground. overall : share mapped right. area : share of the ground, by
    true class. user, producer, f1 : by class. clusters, points : numbers of them. post : whether the map's own counts
    were used.
    """

    matrix: np.ndarray
    overall: Figure
    area: list[Figure]
    user: list[Figure]
    producer: list[Figure]
    f1: list[Figure]
    points: int
    clusters: int
    post: bool


def assess(points: Points, classes: int, mapped: np.ndarray | None = None, kind: str = "wilson") -> Accuracy:
    """All figures of a sample.

    Parameters
    ----------
    classes : number of them. mapped : (class,) pixels of the map that is assessed; None takes the design's weights as
        they are, as Stehman 2014 does. kind : of the intervals, see :data:`dwplus.maps.intervals.KINDS`.
    """
    return _Estimator(points, classes, mapped, kind).accuracy()


class _Estimator:
    def __init__(self, points: Points, classes: int, mapped: np.ndarray | None, kind: str) -> None:
        self.points, self.classes, self.kind = points, classes, kind
        size = np.bincount(points.stratum, minlength=len(points.pixels))
        #: Whether all of the ground is spoken for; where it is not, errors are not known.
        self.whole = points.cluster is not None or bool((size[points.pixels > 0] > 0).all())
        weight = points.weights()
        own = np.bincount(points.mapped, minlength=classes)
        self.post = mapped is not None and bool((own[np.asarray(mapped) > 0] >= 2).all())
        if self.post:
            assert mapped is not None
            spoken = np.bincount(points.mapped, weight, classes)
            factor = np.divide(np.asarray(mapped, float), spoken, out=np.zeros(classes), where=spoken > 0)
            weight = weight * factor[points.mapped]
        self.weight = weight
        self.total = float(weight.sum())
        #: Points by stratum and map class: where a few may agree by chance.
        self.cell = points.stratum * classes + points.mapped

    def accuracy(self) -> Accuracy:
        p, n = self.points, self.classes
        right = (p.mapped == p.true).astype(float)
        one = np.ones(len(right))
        matrix = np.zeros((n, n))
        np.add.at(matrix, (p.mapped, p.true), self.weight / self.total)
        area, user, producer, f1 = [], [], [], []
        for c in range(n):
            there, said = (p.true == c).astype(float), (p.mapped == c).astype(float)
            both = there * said
            area.append(self.ratio(there, one, there, one))
            user.append(self.ratio(both, said, there, said))
            share = self.value(both, there)
            producer.append(self.ratio(both, there, there, np.where(said > 0, 1 - share, share)))
            share = self.value(2 * both, said + there)
            f1.append(self.ratio(2 * both, said + there, there, np.where(said > 0, 2 - share, share)))
        return Accuracy(matrix, self.ratio(right, one, right, one), area, user, producer, f1, len(right),
                        0 if p.cluster is None else len(np.unique(p.cluster)), self.post)

    def value(self, above: np.ndarray, below: np.ndarray) -> float:
        whole = float((self.weight * below).sum())
        return float((self.weight * above).sum()) / whole if whole else np.nan

    def ratio(self, above: np.ndarray, below: np.ndarray, seen: np.ndarray, swing: np.ndarray) -> Figure:
        """A ratio of totals.

        Parameters
        ----------
        above, below : (point,) what is summed. seen : (point,) 0 or 1, what the interpreter's answer decides.
        swing : (point,) how much the linearised ratio moves with it.
        """
        relevant = below > 0
        count = int(relevant.sum())
        share = self.value(above, below)
        if not count or not np.isfinite(share):
            return Figure(np.nan, np.nan, np.nan, np.nan, count)
        residual = above - share * below
        if self.post:
            residual = residual - self._by_class(residual)
        scale = float((self.weight * below).sum())
        variance, freedom = self._variance(residual)
        error = np.sqrt(variance) / scale if self.whole and freedom > 0 else np.nan
        if self.kind == "normal" or not np.isfinite(error):
            return Figure(share, error, *interval(share, count, "normal", error), count)
        simple = self._simple(relevant, below)
        if simple:
            return Figure(share, error, *interval(share, count, self.kind), count)
        safe = (variance + self._unanimity(seen, swing)) / scale ** 2
        # A share of 0 or 1 has no variance of its own: it is taken half a point off.
        inner = (share * count + 0.5) / (count + 1) if share in (0.0, 1.0) else share
        effective = inner * (1 - inner) / safe if safe > 0 else np.inf
        if self.points.cluster is not None:
            # Few blocks with a class leave its variance to chance: it is trusted as far as they are many, and never to
            # make blocks of points better than points (Korn and Graubard 1998, Survey Methodology 24, 193-201).
            with_it = len(np.unique(self.points.cluster[seen > 0 if relevant.all() else relevant]))
            freedom = min(freedom, max(2, with_it - 1))
            effective = min(effective, count)
        if share in (0.0, 1.0):
            # Points of one block may all be right for one reason.
            effective = min(effective, count if self.points.cluster is None else
                            len(np.unique(self.points.cluster[relevant])))
        return Figure(share, error, *interval(share, effective, self.kind, wide=t95(freedom)), count)

    def _simple(self, relevant: np.ndarray, below: np.ndarray) -> bool:
        """Whether the points a ratio is about are all of one stratum's, or of a class in it: plainly so many of so
        many."""
        if self.points.cluster is not None or (below[relevant] != 1).any():
            return False
        stratum, mapped = self.points.stratum[relevant], self.points.mapped[relevant]
        if len(np.unique(stratum)) > 1:
            return False
        alone = relevant[self.points.stratum == stratum[0]].all()
        one_class = len(np.unique(mapped)) == 1 and (relevant == (self.points.mapped == mapped[0])).all()
        return bool(one_class and alone) or bool(relevant.all() and not self.post)

    def _by_class(self, value: np.ndarray) -> np.ndarray:
        """The weighted mean of a value over the points of each map class, at every point."""
        whole = np.bincount(self.points.mapped, self.weight, self.classes)
        mean = np.divide(np.bincount(self.points.mapped, self.weight * value, self.classes), whole,
                         out=np.zeros(self.classes), where=whole > 0)
        return np.asarray(mean[self.points.mapped], float)

    def _variance(self, residual: np.ndarray) -> tuple[float, float]:
        """Of the total of a value with these weights, and its degrees of freedom."""
        z = self.weight * residual
        if self.points.cluster is not None:
            _, draw = np.unique(self.points.cluster, return_inverse=True)
            sums = np.bincount(draw, z)
            draws = len(sums)
            if draws < 2:
                return np.nan, 0
            return draws / (draws - 1) * float(((sums - sums.mean()) ** 2).sum()), draws - 1
        strata = len(self.points.pixels)
        n = np.bincount(self.points.stratum, minlength=strata)
        mean = np.bincount(self.points.stratum, z, strata) / np.maximum(n, 1)
        square = np.bincount(self.points.stratum, (z - mean[self.points.stratum]) ** 2, strata)
        if ((n == 1) & (square == 0) & (self.points.pixels > 1)).any():
            return np.nan, 0  # one point says nothing of its stratum's scatter
        total = float((square * n / np.maximum(n - 1, 1)).sum())
        return total, max(0, int(n.sum()) - int((n > 0).sum()))

    def _unanimity(self, seen: np.ndarray, swing: np.ndarray) -> float:
        """What the variance lacks where all points of a class in a stratum agree, or nearly."""
        if self.points.cluster is not None:
            return 0.0
        _, cell, count = np.unique(self.cell, return_inverse=True, return_counts=True)
        stratum = np.zeros(len(count), int)
        stratum[cell] = self.points.stratum
        kinds = np.bincount(stratum)[stratum]
        points = np.bincount(self.points.stratum)[stratum]
        half = 0.5 / kinds
        hits = np.bincount(cell, seen)
        plain, thought = hits / count, (hits + half) / (count + 2 * half)
        # All points of a cell have one weight and one swing.
        moved = np.zeros(len(count))
        moved[cell] = (self.weight * swing) ** 2
        lacking = np.maximum(0, thought * (1 - thought) - plain * (1 - plain))
        return float((moved * lacking * count * points / np.maximum(points - 1, 1)).sum())


def matrix_table(found: Accuracy, names: list[str]) -> pd.DataFrame:
    """The error matrix in shares of the ground: rows map classes, columns true classes, with sums."""
    table = pd.DataFrame(found.matrix, index=names, columns=names)
    table["map"] = table.sum(axis=1)
    table.loc["true"] = table.sum(axis=0)
    return table


def class_table(found: Accuracy, names: list[str], mapped: np.ndarray, pixel_area: float) -> pd.DataFrame:
    """Figures by class: counted and estimated areas (km2), user's and producer's accuracy and F1 with intervals."""
    whole = float(np.sum(mapped)) * pixel_area / 1e6
    rows = []
    for c, name in enumerate(names):
        row: dict[str, object] = {"class": name, "mapped_km2": mapped[c] * pixel_area / 1e6,
                                  "points_mapped": found.user[c].points, "points_true": found.producer[c].points}
        area = found.area[c]
        row |= {"area_km2": area.value * whole, "area_se_km2": area.error * whole, "area_low_km2": area.low * whole,
                "area_high_km2": area.high * whole}
        for what, figure in (("users", found.user[c]), ("producers", found.producer[c]), ("f1", found.f1[c])):
            row |= {what: figure.value, f"{what}_se": figure.error, f"{what}_low": figure.low,
                    f"{what}_high": figure.high}
        rows.append(row)
    return pd.DataFrame(rows)


def half_width(figure: Figure) -> float:
    """Of the normal interval, as papers print it."""
    return Z95 * figure.error
