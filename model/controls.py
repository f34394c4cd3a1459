"""What a network must be ahead of before its score means anything: the controls of a comparison.

``pixel_mlp`` is a network and trained as one; the others are made here, and called as networks are.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dwplus.errors import InputError
from dwplus.spec.extras import EMBEDDING_BANDS
from dwplus.store.legend import attributes_of
from dwplus.taxonomy import IGNORE
from model.checkpoint import Checkpoint
from model.config import TrainConfig
from model.data import TileDataset
from model.normalise import Normalisation, Normaliser

#: Controls that are fitted here, with what they are.
FITTED = {"random_forest": "scikit-learn's random forest on single pixels of the training tiles",
          "majority": "the training tiles' most frequent class everywhere"}
#: One more, where the data have the annual embedding among their extras.
EMBEDDING_HEAD = "embedding_head"
WITH_EMBEDDING = {EMBEDDING_HEAD: "a linear head on single pixels of the annual embedding, which sees neither sensor"}
#: Labelled pixels that the forest is grown on, over all training tiles.
FOREST_PIXELS = 60_000
#: Of the forest. Ours: small enough to answer a tile of 510 px in seconds.
FOREST: dict[str, Any] = {"n_estimators": 60, "min_samples_leaf": 4}
#: Logit of a class that a control rules out.
RULED_OUT = -30.0


def check() -> None:
    """Refuse to begin where a control could not be made.

    Raises
    ------
    InputError
        Where scikit-learn is not installed.
    """
    try:
        import sklearn.ensemble  # noqa: F401
    except ImportError:
        raise InputError("compare: its control random_forest needs scikit-learn, which is not installed; pip install "
                         "'dwplus[train,classify]'") from None


class Majority(nn.Module):
    """One class everywhere."""

    def __init__(self, number: int, classes: int) -> None:
        super().__init__()
        self.number, self.classes = number, classes

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        out = s2.new_full((len(s2), self.classes, *s2.shape[2:]), RULED_OUT)
        out[:, self.number] = 0.0
        return out


class Forest(nn.Module):
    """A forest of scikit-learn's on each pixel's bands, as a network: the logarithms of its probabilities."""

    def __init__(self, trees: Any, classes: int) -> None:
        super().__init__()
        self.trees, self.classes = trees, classes

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        bands = torch.cat([s2, s1], 1).movedim(1, -1)
        said = self.trees.predict_proba(bands.reshape(-1, bands.shape[-1]).float().cpu().numpy())
        out = torch.full((len(said), self.classes), RULED_OUT)
        known = torch.from_numpy(np.asarray(self.trees.classes_, "int64"))
        out[:, known] = torch.from_numpy(np.log(np.maximum(said, np.exp(RULED_OUT)))).float()
        return out.reshape(*bands.shape[:-1], self.classes).movedim(-1, 1).to(s2.device)


class EmbeddingHead(nn.Module):
    """A linear map from the embedding's bands, wherever they stand among the optical ones, to logits."""

    def __init__(self, first: int, weights: np.ndarray, offsets: np.ndarray, known: np.ndarray, classes: int) -> None:
        super().__init__()
        self.bands = slice(first, first + weights.shape[1])
        every, least = torch.zeros(classes, weights.shape[1]), torch.full((classes, 1, 1), RULED_OUT)
        every[torch.from_numpy(known)] = torch.from_numpy(weights).float()
        least[torch.from_numpy(known), 0, 0] = torch.from_numpy(offsets).float()
        self.weights, self.offsets = nn.Buffer(every), nn.Buffer(least)

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        vectors = s2[:, self.bands].float()
        return torch.einsum("bchw,kc->bkhw", vectors, self.weights) + self.offsets


def fitted_names(config: TrainConfig) -> dict[str, str]:
    """The controls that are fitted beside a comparison of this config, with what they are."""
    return FITTED | (WITH_EMBEDDING if "embedding" in config.data.extras else {})


def _embedding_head(data: TileDataset, normalisation: Normalisation, seed: int) -> EmbeddingHead:
    from sklearn.linear_model import LogisticRegression

    first = data.s2_bands.index(EMBEDDING_BANDS[0])
    bands, labels = drawn_pixels(data, normalisation, seed)
    head = LogisticRegression(max_iter=300).fit(bands[:, first:first + len(EMBEDDING_BANDS)], labels)
    known, weights, offsets = np.asarray(head.classes_, "int64"), head.coef_, head.intercept_
    if len(known) == 2:  # of two classes scikit-learn keeps one row, for the second
        weights, offsets = np.stack([0 * weights[0], weights[0]]), np.array([0.0, offsets[0]])
    return EmbeddingHead(first, weights, offsets, known, len(data.legend))


def training_tiles(stores: list[str], config: TrainConfig) -> TileDataset:
    """The tiles that a run of this config trains on, whole."""
    data = config.data
    return TileDataset(stores, "train", seed=config.run.seed, max_tiles=data.max_tiles,
                       min_gap_hours=data.min_gap_hours, max_gap_hours=data.max_gap_hours, max_cloud=data.max_cloud,
                       biomes=data.biomes, min_valid_fraction=data.min_valid_fraction, exclude=data.exclude,
                       classes=data.classes, share=data.share, extras=data.extras)


def drawn_pixels(data: TileDataset, normalisation: Normalisation, seed: int,
                 pixels: int = FOREST_PIXELS) -> tuple[np.ndarray, np.ndarray]:
    """Bands, float32 (pixels, bands), as networks see them, and labels of a seeded draw, as many of each tile."""
    normaliser, rng = Normaliser(normalisation), np.random.default_rng(seed)
    per_tile = -(-pixels // len(data))
    bands, labels = [], []
    for i in range(len(data)):
        raw = data.tile(i)
        s2, s1, label = normaliser(*(torch.from_numpy(np.ascontiguousarray(a))[None] for a in
                                     (raw.s2, raw.s1, raw.label)), torch.tensor([[True, True]]))
        flat = label.flatten().numpy()
        where = rng.permutation(np.flatnonzero(flat != IGNORE))[:per_tile]
        bands.append(torch.cat([s2, s1], 1)[0].flatten(1).numpy()[:, where].T)
        labels.append(flat[where])
    return np.concatenate(bands), np.concatenate(labels)


def fitted(name: str, stores: list[str], config: TrainConfig, normalisation: Normalisation) -> tuple[Checkpoint, float]:
    """A control of :func:`fitted_names`, as a trained network, and the minutes it took.

    Raises
    ------
    InputError
        Where the training tiles hold no labelled pixel.
    """
    began = time.perf_counter()
    data = training_tiles(stores, config)
    if not data.class_counts.any():
        raise InputError(f"store {', '.join(stores)}: the training tiles hold no labelled pixel")
    if name == "majority":
        net: nn.Module = Majority(int(data.class_counts.argmax()), len(data.legend))
    elif name == EMBEDDING_HEAD:
        net = _embedding_head(data, normalisation, config.run.seed)
    else:
        from sklearn.ensemble import RandomForestClassifier

        trees = RandomForestClassifier(**FOREST, n_jobs=torch.get_num_threads(), random_state=config.run.seed)
        net = Forest(trees.fit(*drawn_pixels(data, normalisation, config.run.seed)), len(data.legend))
    info = {"model": {"name": name, "options": {}}, "s2_bands": data.s2_bands, "s1_bands": data.s1_bands,
            "specs": data.specs, "config": config.to_dict(), **attributes_of(data.legend)}
    return Checkpoint(Path(name), net.eval(), normalisation, info), (time.perf_counter() - began) / 60
