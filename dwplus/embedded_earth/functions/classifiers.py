"""Classifiers that learn from features and label pixels, through scikit-learn: its forests, not Smile's.

The methods are the service's, the trees are not: chance falls otherwise, so that single pixels may differ.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dwplus.embedded_earth import masks
from dwplus.embedded_earth.context import Context
from dwplus.embedded_earth.errors import ComputeError
from dwplus.embedded_earth.functions.array_images import on_pixels
from dwplus.embedded_earth.functions.confusion import counted
from dwplus.embedded_earth.functions.registry import function, signatures
from dwplus.embedded_earth.grid import Grid, Pixels
from dwplus.embedded_earth.pixel_types import DOUBLE, PixelType, cast
from dwplus.embedded_earth.values import Band, Classifier, Collection, ConfusionMatrix, Hints, Image

#: Modes in which a classifier answers; the others' meaning is not published beyond doubt.
_MODES = ("CLASSIFICATION", "REGRESSION", "MULTIPROBABILITY")
#: Pixels that are predicted between two looks at the clock.
_PART = 1 << 16


def _learner(module: str, name: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(f"sklearn.{module}"), name)
    except ImportError:
        raise ComputeError("Classifier.train: not supported by the embedded Earth without scikit-learn: pip install "
                           "'dwplus[classify]'.") from None
    return found


def _forest(options: dict[str, Any], inputs: int, regression: bool) -> Any:
    kind = _learner("ensemble", "RandomForestRegressor" if regression else "RandomForestClassifier")
    return kind(n_estimators=options["numberOfTrees"], max_features=options["variablesPerSplit"] or "sqrt",
                min_samples_leaf=options["minLeafPopulation"], max_samples=options["bagFraction"],
                max_leaf_nodes=options["maxNodes"], random_state=options["seed"], n_jobs=1)


def _tree(options: dict[str, Any], inputs: int, regression: bool) -> Any:
    kind = _learner("tree", "DecisionTreeRegressor" if regression else "DecisionTreeClassifier")
    return kind(max_leaf_nodes=options["maxNodes"], min_samples_leaf=options["minLeafPopulation"], random_state=0)


def _boosted(options: dict[str, Any], inputs: int, regression: bool) -> Any:
    common = dict(n_estimators=options["numberOfTrees"], learning_rate=options["shrinkage"],
                  subsample=options["samplingRate"], max_leaf_nodes=options["maxNodes"], max_depth=None,
                  random_state=options["seed"])
    if not regression:
        return _learner("ensemble", "GradientBoostingClassifier")(**common)
    losses = {"LeastSquares": "squared_error", "LeastAbsoluteDeviation": "absolute_error", "Huber": "huber"}
    if options["loss"] not in losses:
        raise ComputeError(f"Classifier.smileGradientTreeBoost: 'loss' must be one of {', '.join(losses)}.")
    return _learner("ensemble", "GradientBoostingRegressor")(loss=losses[options["loss"]], **common)


def _neighbours(options: dict[str, Any], inputs: int, regression: bool) -> Any:
    metrics = {"EUCLIDEAN": "euclidean", "MANHATTAN": "manhattan", "BRAYCURTIS": "braycurtis", "MAHALANOBIS": None}
    if metrics.get(options["metric"]) is None:
        raise ComputeError(f"Classifier.smileKNN: the metric '{options['metric']}' is not supported by the embedded "
                           "Earth.")
    kind = _learner("neighbors", "KNeighborsRegressor" if regression else "KNeighborsClassifier")
    return kind(n_neighbors=options["k"], metric=metrics[options["metric"]])


_KINDS: dict[str, Callable[[dict[str, Any], int, bool], Any]] = {
    "smileRandomForest": _forest, "smileCart": _tree, "smileGradientTreeBoost": _boosted, "smileKNN": _neighbours}


def _register(name: str) -> None:
    @function(f"Classifier.{name}")
    def make(context: Context, *values: Any) -> Classifier:
        names = [entry["argumentName"] for entry in signatures()[f"Classifier.{name}"]["arguments"]]
        options = dict(zip(names, values, strict=True))
        for key in ("numberOfTrees", "k"):
            if key in options and not 1 <= options[key] <= 10_000:
                raise ComputeError(f"Classifier.{name}: '{key}' must be 1 to 10000.")
        for key in ("bagFraction", "samplingRate"):
            if key in options and not 0 < options[key] <= 1:
                raise ComputeError(f"Classifier.{name}: '{key}' must be above 0 and at most 1.")
        return Classifier(name, options)


for _name in _KINDS:
    _register(_name)


@function("Classifier.setOutputMode")
def set_output_mode(context: Context, classifier: Classifier, mode: str) -> Classifier:
    if mode not in _MODES:
        raise ComputeError(f"Classifier.setOutputMode: the mode '{mode}' is not supported by the embedded Earth, which "
                           f"has {', '.join(_MODES)}.")
    return replace(classifier, mode=mode)


@function("Classifier.mode")
def mode_of(context: Context, classifier: Classifier) -> str:
    return classifier.mode


@function("Classifier.schema")
def schema(context: Context, classifier: Classifier) -> list[str] | None:
    return None if classifier.inputs is None else list(classifier.inputs)


def _table(context: Context, features: Collection, target: str,
           inputs: list[str] | None) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, inputs (n, inputs) and targets (n,) of the features that have them all as numbers."""
    rows: list[list[float]] = []
    for element in features:
        context.check_time()
        properties = element.properties
        if inputs is None:
            inputs = [name for name, value in properties.items()
                      if isinstance(value, int | float) and name != target and not name.startswith("system:")]
        values = [properties.get(name) for name in (*inputs, target)]
        if all(isinstance(value, int | float) for value in values):
            rows.append([float(value) for value in values])
    if not rows or not inputs:
        raise ComputeError(f"Classifier.train: No features contained non-null values of '{target}' and of the inputs.")
    table = np.array(rows)
    return list(inputs), table[:, :-1], table[:, -1]


@function("Classifier.train")
def train(context: Context, classifier: Classifier, features: Collection, target: str, inputs: list[str] | None,
          share: float, seed: int) -> Classifier:
    names, values, classes = _table(context, features, target, inputs)
    if not 0 < share <= 1:
        raise ComputeError("Classifier.train: 'subsampling' must be above 0 and at most 1.")
    if share < 1:
        kept = np.random.default_rng(abs(seed)).random(len(values)) < share
        values, classes = values[kept], classes[kept]
    regression = classifier.mode == "REGRESSION"
    if not regression and not (classes == np.floor(classes)).all():
        raise ComputeError(f"Classifier.train: the classes in '{target}' must be whole numbers.")
    if not len(values):
        raise ComputeError("Classifier.train: no feature is left by 'subsampling'.")
    if not regression and len(np.unique(classes)) < 2:
        raise ComputeError("Classifier.train: Only one class.")
    model = _KINDS[classifier.kind](classifier.options, len(names), regression)
    model.fit(values, classes if regression else classes.astype("i8"))
    context.check_time()
    matrix = None
    if not regression and classes.min() >= 0:
        matrix = counted(classes.astype(int).tolist(), model.predict(values).astype(int).tolist(), None)
    weights = getattr(model, "feature_importances_", np.zeros(0))
    return replace(classifier, inputs=tuple(names), model=model, matrix=matrix,
                   importance=dict(zip(names, map(float, weights), strict=False)))


def _trained(classifier: Classifier, where: str) -> Any:
    if classifier.model is None or classifier.inputs is None:
        raise ComputeError(f"{where}: the classifier has not been trained.")
    if (classifier.mode == "REGRESSION") == hasattr(classifier.model, "classes_"):
        raise ComputeError(f"{where}: the output mode must be set before the training.")
    return classifier.model


def _predicted(context: Context, classifier: Classifier, values: np.ndarray, where: str) -> np.ndarray:
    """(n,) classes or numbers, or (n, classes) shares."""
    model = _trained(classifier, where)
    run = model.predict_proba if classifier.mode == "MULTIPROBABILITY" else model.predict
    parts = []
    for start in range(0, len(values), _PART):
        context.check_time()
        parts.append(run(values[start:start + _PART]))
    return np.concatenate(parts) if parts else np.zeros((0, *run(np.zeros((1, values.shape[1]))).shape[1:]))


@function("Image.classify")
def classify_image(context: Context, image: Image, classifier: Classifier, name: str) -> Image:
    where = "Image.classify"
    model = _trained(classifier, where)
    assert classifier.inputs is not None
    bands = [image.band(band) for band in classifier.inputs]
    several = classifier.mode == "MULTIPROBABILITY"
    to = PixelType("double", 0, 1, 1) if several else DOUBLE if classifier.mode == "REGRESSION" else PixelType(
        "int", int(model.classes_.min()), int(model.classes_.max()))

    def read(grid: Grid) -> Pixels:
        columns, valid = [], None
        for band in bands:
            values, mask = band.read(grid)
            columns.append(np.broadcast_to(values, grid.shape).astype("f8").ravel())
            valid = masks.both(valid, mask)
        table = np.stack(columns, 1)
        seen = np.ones(grid.shape, bool) if valid is None else masks.seen(valid)
        found = _predicted(context, classifier, table[seen.ravel()], where)
        if several:
            place = np.zeros(grid.shape, "i8")
            place[seen] = np.arange(len(found))
            return on_pixels(context, [place], seen, lambda at: found[int(at)], to), valid
        out = np.zeros(grid.shape)
        out[seen] = found
        return cast(out, to), valid

    base = bands[0]
    return image.computed([Band(name, to, base.projection, base.extent, read)])


@function("FeatureCollection.classify")
def classify_features(context: Context, features: Collection, classifier: Classifier, name: str) -> Collection:
    where = "FeatureCollection.classify"
    _trained(classifier, where)

    def load(hints: Hints) -> Iterator[Any]:
        elements = list(features.load(hints))
        assert classifier.inputs is not None
        rows = [[element.properties.get(key) for key in classifier.inputs] for element in elements]
        whole = [all(isinstance(value, int | float) for value in row) for row in rows]
        table = np.array([row for row, ok in zip(rows, whole, strict=True) if ok], "f8").reshape(
            -1, len(classifier.inputs))
        found = iter(_predicted(context, classifier, table, where))
        for element, ok in zip(elements, whole, strict=True):
            if ok:
                value = next(found)
                answer = value if np.ndim(value) else float(value) if classifier.mode == "REGRESSION" else int(value)
                yield element.with_properties({**element.properties, name: answer})

    return features.using(load)


@function("Classifier.confusionMatrix")
def confusion_matrix(context: Context, classifier: Classifier) -> ConfusionMatrix:
    if classifier.matrix is None:
        raise ComputeError("Classifier.confusionMatrix: there is none: the classifier is not trained, or not on "
                           "classes from 0 on.")
    return classifier.matrix


@function("Classifier.explain")
def explain(context: Context, classifier: Classifier) -> dict[str, Any]:
    """Classes and the inputs' shares in the decisions; the service tells more, such as the trees."""
    model = _trained(classifier, "Classifier.explain")
    found: dict[str, Any] = {}
    if hasattr(model, "classes_"):
        found["classes"] = [int(value) for value in model.classes_]
    if classifier.importance:
        found["importance"] = classifier.importance
    if "numberOfTrees" in classifier.options:
        found["numberOfTrees"] = classifier.options["numberOfTrees"]
    return found
