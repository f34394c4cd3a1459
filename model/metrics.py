"""Scores from one confusion matrix: rows true, columns predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dwplus.errors import InputError
from dwplus.taxonomy import CLASSES, IGNORE


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int = len(CLASSES),
                     ignore: int = IGNORE) -> np.ndarray:
    """Count pixels.

    Parameters
    ----------
    truth : integers of any shape, 0..classes-1 or ``ignore``. predicted : of the same shape, 0..classes-1.

    Returns
    -------
    int64 (classes, classes), rows true, columns predicted.

    Raises
    ------
    InputError
        On another value.
    """
    truth, predicted = np.asarray(truth).ravel(), np.asarray(predicted).ravel()
    if truth.shape != predicted.shape:
        raise InputError(f"confusion matrix: truth has {truth.size} pixels, prediction {predicted.size}; give as many")
    keep = truth != ignore
    truth, predicted = truth[keep].astype("int64"), predicted[keep].astype("int64")
    for name, values in (("truth", truth), ("prediction", predicted)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise InputError(f"confusion matrix: {name} must be 0..{classes - 1} (truth also {ignore} = ignore), "
                             f"found {values.min()}..{values.max()}")
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def scores(confusion: np.ndarray | Sequence[Sequence[float]], *, absent_as_zero: bool = False,
           scored: np.ndarray | None = None) -> dict[str, Any]:
    """Scores of a confusion matrix.

    A class without a true pixel is absent: its IoU, F1 and recall are NaN and left out of the means (its false alarms
    lower the scores of the classes they were taken from). A class that is never predicted has no precision, NaN.

    Parameters
    ----------
    confusion : (n, n) counts, rows true, columns predicted.
    absent_as_zero : means run over all classes, an absent one counting as 0, as some published figures have it.
    scored : bool (n,), of absent ones those that count; None = all.

    Returns
    -------
    dict: ``oa`` overall accuracy, ``miou``, ``macro_f1``, ``kappa`` (Cohen), ``macro_precision``, ``macro_recall``;
    float64 arrays (n,) ``iou``, ``f1``, ``precision``, ``recall``; ``support`` true pixels per class, ``pixels`` in
    all, ``present`` classes with true pixels. Everything is a share in 0..1, kappa in -1..1; NaN where undefined.

    Raises
    ------
    InputError
        Where it is not a square matrix of counts.
    """
    matrix = np.asarray(confusion, dtype="float64")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all() or (matrix < 0).any():
        raise InputError(f"confusion matrix: must be square and hold counts of zero or more, found shape "
                         f"{matrix.shape}")
    hit, true, said = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    total = matrix.sum()
    present = true > 0

    def share(part: np.ndarray, whole: np.ndarray, where: np.ndarray) -> np.ndarray:
        out: np.ndarray = np.divide(part, whole, out=np.full(len(matrix), np.nan), where=where)
        return out

    iou = share(hit, true + said - hit, present)
    f1 = share(2 * hit, true + said, present)
    precision, recall = share(hit, said, said > 0), share(hit, true, present)

    def mean(values: np.ndarray, of: np.ndarray = present) -> float:
        if absent_as_zero and total:
            zero = np.where(of & np.isfinite(values), values, 0.0)
            return float((zero if scored is None else zero[scored]).mean())
        chosen = values[of & np.isfinite(values)]
        return float(chosen.mean()) if chosen.size else float("nan")

    oa = float(hit.sum() / total) if total else float("nan")
    expected = float((true * said).sum() / total**2) if total else float("nan")
    kappa = (oa - expected) / (1 - expected) if total and expected < 1 else float("nan")
    return {"oa": oa, "miou": mean(iou), "macro_f1": mean(f1), "kappa": kappa, "macro_precision": mean(precision),
            "macro_recall": mean(recall), "iou": iou, "f1": f1, "precision": precision, "recall": recall,
            "support": true.astype("int64"), "pixels": int(total), "present": int(present.sum())}


#: Figures that are means, or of all pixels; those of them that get intervals.
FIGURES = ("oa", "miou", "macro_f1", "kappa", "macro_precision", "macro_recall")
INTERVALS = FIGURES[:4]


def bootstrap(matrices: np.ndarray, blocks: Sequence[Any], draws: int = 1000, level: float = 0.95,
              seed: int = 0, score: Callable[[np.ndarray], dict[str, Any]] = scores) -> dict[str, tuple[float, float]]:
    """Intervals of the scores when whole spatial blocks are drawn again with replacement.

    Neighbouring pixels and tiles are alike, so that pixels or tiles drawn one by one would give intervals too narrow.

    Parameters
    ----------
    matrices : (tiles, n, n), one confusion matrix per tile. blocks : (tiles,), the block of each tile. score : figures
        of a matrix.

    Returns
    -------
    dict of ``oa``, ``miou``, ``macro_f1``, ``kappa`` to (low, high); NaN with fewer than two blocks.
    """
    names = INTERVALS
    unique, inverse = np.unique(np.asarray(blocks, dtype=object).astype(str), return_inverse=True)
    if len(unique) < 2:
        return dict.fromkeys(names, (float("nan"), float("nan")))
    n = matrices.shape[-1]
    sums = np.zeros((len(unique), n * n))
    np.add.at(sums, inverse, np.asarray(matrices, "float64").reshape(len(matrices), -1))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=draws)
    drawn = [score(m) for m in (weights @ sums).reshape(draws, n, n)]
    return {name: _middle(np.array([d[name] for d in drawn]), level) for name in names}


def _middle(values: np.ndarray, level: float) -> tuple[float, float]:
    """Where the middle of values lies, NaN left out."""
    values, tail = values[np.isfinite(values)], (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail]) if values.size else (np.nan, np.nan)
    return float(low), float(high)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, count: np.ndarray) -> float:
    """Mean distance between confidence and accuracy over bins, weighted by their pixels; NaN without any.

    Parameters
    ----------
    confidence, correct : (bins,), sums over the pixels of a bin. count : (bins,), its pixels.

    Source: Guo et al. 2017, arXiv 1706.04599.
    """
    total = count.sum()
    return float(np.abs(confidence - correct).sum() / total) if total else float("nan")


@dataclass(frozen=True)
class Protocol:
    """How figures are made of confusion matrices: the ways in which published ones differ.

    Attributes
    ----------
    without : classes whose true pixels are not scored (as if ignored), and which are in no mean; what is said of other
        pixels stays an error.
    per_image : mean of the figures of each image, in place of those of all pixels together; the tiles that an image was
        cut into are one.
    absent_as_zero : see :func:`scores`. window, stride : side and step of a sliding window within each tile, px, whose
        probabilities are averaged; None = whole tiles, and a step of the window's side.
    """

    without: tuple[str, ...] = ()
    per_image: bool = False
    absent_as_zero: bool = False
    window: int | None = None
    stride: int | None = None

    @property
    def words(self) -> str:
        """In words, empty for the default."""
        parts = [f"without {', '.join(self.without)}"] * bool(self.without)
        parts += ["mean over images"] * self.per_image + ["absent classes count as 0"] * self.absent_as_zero
        parts += [f"sliding window of {self.window} px, step {self.stride or self.window}"] * (self.window is not None)
        return "; ".join(parts)

    def check(self, classes: Sequence[str]) -> None:
        """Refuse what cannot be scored, before anything is counted.

        Raises
        ------
        InputError
            Where a name is no class, nothing is left, or a window's step leaves pixels out.
        """
        if unknown := sorted(set(self.without) - set(classes)):
            raise InputError(f"--without {unknown[0]}: is no class; classes are {', '.join(classes)}")
        if set(self.without) >= set(classes):
            raise InputError("--without: leaves no class to score")
        if self.stride is not None and self.window is None:
            raise InputError(f"--stride {self.stride}: is the step of a sliding window; give --window too")
        if self.stride is not None and self.window is not None and not 1 <= self.stride <= self.window:
            raise InputError(f"--stride {self.stride}: must be 1 to the window's {self.window} px, larger steps leave "
                             "pixels out")

    def scored(self, classes: Sequence[str]) -> np.ndarray:
        """Whether each class is scored, bool (n,)."""
        self.check(classes)
        return np.array([name not in self.without for name in classes])

    def masked(self, matrices: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """Confusion matrices (..., n, n) without the true pixels that are not scored.

        Raises
        ------
        InputError
            As :meth:`check`.
        """
        scored = self.scored(classes)
        return matrices if scored.all() else np.where(scored[:, None], matrices, 0)

    def of(self, matrices: np.ndarray, scored: np.ndarray | None = None,
           images: Sequence[Any] | None = None) -> dict[str, Any]:
        """Scores of confusion matrices (tiles, n, n), as :func:`scores` gives them.

        Per image the means run over images with a labelled pixel; counts and figures by class are those of all.

        Parameters
        ----------
        scored : of :meth:`scored`; None = all classes are. images : (tiles,), the image each tile is of; None = each
            its own.
        """
        whole = self._one(matrices.sum(axis=0), scored)
        if self.per_image:
            for key, values in self._each(matrices, scored, images)[0].items():
                known = values[np.isfinite(values)]
                whole[key] = float(known.mean()) if known.size else float("nan")
        return whole

    def interval(self, matrices: np.ndarray, blocks: Sequence[Any], draws: int = 1000, level: float = 0.95,
                 scored: np.ndarray | None = None, images: Sequence[Any] | None = None,
                 ) -> dict[str, tuple[float, float]]:
        """Intervals of the figures of :meth:`of`, whole spatial blocks being drawn again; see :func:`bootstrap`."""
        if not self.per_image:
            return bootstrap(matrices, blocks, draws, level, score=lambda m: self._one(m, scored))
        figures, first = self._each(matrices, scored, images)
        unique, inverse = np.unique(np.asarray(blocks, dtype=object).astype(str)[first], return_inverse=True)
        if len(unique) < 2:
            return dict.fromkeys(INTERVALS, (float("nan"), float("nan")))
        weights = np.random.default_rng(0).multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=draws)
        found = {}
        for name in INTERVALS:
            known = np.isfinite(figures[name])
            sums = np.bincount(inverse, np.where(known, figures[name], 0.0), len(unique))
            counts = weights @ np.bincount(inverse, known, len(unique))
            found[name] = _middle(np.divide(weights @ sums, counts, out=np.full(draws, np.nan), where=counts > 0),
                                  level)
        return found

    def _one(self, matrix: np.ndarray, scored: np.ndarray | None) -> dict[str, Any]:
        return scores(matrix, absent_as_zero=self.absent_as_zero, scored=scored)

    def _each(self, matrices: np.ndarray, scored: np.ndarray | None,
              images: Sequence[Any] | None) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Figures of each image with a labelled pixel, and the number of its first tile."""
        numbers = np.arange(len(matrices)) if images is None else np.unique(
            np.asarray(images, dtype=object).astype(str), return_inverse=True)[1]
        together = np.zeros((int(numbers.max(initial=-1)) + 1, *matrices.shape[1:]))
        np.add.at(together, numbers, matrices)
        first = np.unique(numbers, return_index=True)[1]
        labelled = together.any(axis=(1, 2))
        every = [self._one(matrix, scored) for matrix in together[labelled]]
        return {key: np.array([one[key] for one in every]) for key in FIGURES}, first[labelled]
