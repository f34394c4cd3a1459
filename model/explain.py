"""Why a map looks as it does: measured facts per sample first, then words, and no number in the words that the facts
do not hold.

Published (CLAIRE, arXiv 2509.11952): a small language model (Phi-3) justifies each sample after the fact, driven by
metrics. **Ours**: which facts, how the lean on a sensor is measured (the sensor is hidden and the map compared), the
template, and the check of every number.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dwplus.errors import InputError
from dwplus.pages import skeleton
from dwplus.pages.words import Reference, reference_of
from dwplus.taxonomy import BIOMES, CLASSES, IGNORE
from model.checkpoint import Checkpoint, load
from model.data import TileDataset
from model.distributed import device_of
from model.metrics import scores
from model.normalise import Normaliser
from model.progress import step_progress
from model.scoring import evaluation_sets, synthetic_of

#: Given a prompt, words.
Writer = Callable[[str], str]

#: Labels that a model predicted: those of most stores.
PREDICTED = reference_of(["dynamic-world-v1"])
SENSORS = {"s2": "Sentinel-2", "s1": "Sentinel-1"}
#: Mistakes that are named.
CONFUSIONS = 3
#: The network leans on a sensor when hiding it changes this many times the pixels that hiding the other changes.
LEAN_RATIO = 1.5
#: Mean entropy, percent of the largest possible, below which the network is called sure, and above which unsure.
SURE, UNSURE = 15.0, 40.0
#: Answers asked of a language model before the template takes over.
TRIES = 2

PROMPT = """You explain a land-cover map to a reader who knows remote sensing. Below are measured facts about one tile,
as JSON; shares and scores are in percent. Write one paragraph of at most 120 words: how well the map agrees with the
labels and whose they are, which classes are confused, on which sensor it relies, and what cloud and time gap suggest.
Labels that are no truth are another model's predictions: do not call the map right or wrong against them. Use only
numbers that stand in the facts, written as they stand there, in digits. State nothing that the facts do not say.

Facts: {facts}

Explanation:"""


# -- facts ------------------------------------------------------------------------------------------------------------

def percent(share: float | None) -> float | None:
    """0..1 as percent with one decimal; None where undefined."""
    return None if share is None or not math.isfinite(share) else round(100 * float(share), 1)


def make_facts(tile: Mapping[str, Any], confusion: np.ndarray, *, entropy: float, confidence: float,
               hidden: Mapping[str, tuple[float, float]] | None = None, optical_shares: Sequence[float] | None = None,
               reliability: float | None = None, pixels: int | None = None, reference: Reference = PREDICTED,
               names: Sequence[str] = CLASSES,
               ) -> dict[str, Any]:
    """Facts of one sample, as JSON holds them; shares and scores in percent with one decimal, null = not known.

    Parameters
    ----------
    tile : ``tile_id``, ``window``, ``biome`` (number), ``gap_hours`` (S1 minus S2), ``s2_cloud`` (percent of the
        scene), ``cloud_fraction`` (measured on the tile, 0..1; stores of triplets), ``lon``, ``lat``.
    confusion : (9, 9) pixels, rows true, columns predicted. entropy : mean over labelled pixels, 0..1 of the largest
        possible. confidence : mean probability of the chosen class, 0..1.
    hidden : per sensor that was hidden, (share of labelled pixels that change class, overall accuracy without it).
    optical_shares : per scale, what the fusion takes from the optics, 0..1, where the network can say.
    reliability : mean of the network's own reliability of the optics, 0..1, where it has one. pixels : of the tile.
    reference : whose the labels are; only against people's or the planet's truth is anything called right.
    names : of the classes.
    """
    confusion = np.asarray(confusion)
    found, total = scores(confusion), int(confusion.sum())
    gap, cloud = _number(tile.get("gap_hours")), _number(tile.get("s2_cloud"))
    measured = _number(tile.get("cloud_fraction"))
    said, true = confusion.sum(0), confusion.sum(1)
    classes = [{"name": names[c], "true": percent(true[c] / total), "mapped": percent(said[c] / total),
                "iou": percent(found["iou"][c]), "recall": percent(found["recall"][c])}
               for c in np.argsort(-true, kind="stable") if total and (true[c] or said[c])]
    wrong = np.where(np.eye(len(confusion), dtype=bool), 0, confusion)
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    confusions = [{"true": names[i], "mapped": names[j], "share": percent(wrong[i, j] / total)}
                  for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[i, j]]
    return {
        "tile": {"id": str(tile["tile_id"]), "window": str(tile.get("window", "")), "biome": int(tile["biome"]),
                 "biome_name": BIOMES.get(int(tile["biome"]), "unknown"),
                 "lon": _number(tile.get("lon"), 4), "lat": _number(tile.get("lat"), 4)},
        "scenes": {"gap_hours": None if gap is None else round(abs(gap), 1),
                   "first": None if gap is None else "Sentinel-2" if gap > 0 else "Sentinel-1" if gap else "neither",
                   "cloud": None if cloud is None else round(cloud, 1), "tile_cloud": percent(measured)},
        "labelled": {"pixels": total, "share": percent(total / pixels) if pixels else None},
        "reference": {"labels": reference.name, "truth": reference.truth},
        "scores": {"overall_accuracy": percent(found["oa"]), "miou": percent(found["miou"]),
                   "classes_present": int(found["present"])},
        "classes": classes, "confusions": confusions,
        "certainty": {"entropy": percent(entropy), "confidence": percent(confidence)},
        "sensors": _lean(hidden),
        "fusion": {"optical_shares": None if optical_shares is None else [percent(s) for s in optical_shares],
                   "reliability": percent(reliability)},
    }


def _number(value: Any, digits: int = 6) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def _lean(hidden: Mapping[str, tuple[float, float]] | None) -> dict[str, Any] | None:
    """Which sensor the map hangs on; None for a network of one sensor."""
    if not hidden:
        return None
    s2, s1 = hidden["s2"][0], hidden["s1"][0]
    leans = "Sentinel-2" if s2 > LEAN_RATIO * s1 else "Sentinel-1" if s1 > LEAN_RATIO * s2 else "both"
    return {"leans_on": leans, **{f"without_{name}": {"changed": percent(changed), "overall_accuracy": percent(right)}
                                  for name, (changed, right) in hidden.items()}}


@torch.inference_mode()
def measure(checkpoint: Checkpoint, data: TileDataset, index: int, normaliser: Normaliser,
            device: torch.device) -> dict[str, Any]:
    """Facts of a tile under a network, both on the device."""
    raw, n = data.tile(index), len(checkpoint.legend)
    stored = [torch.from_numpy(np.ascontiguousarray(a))[None].to(device) for a in (raw.s2, raw.s1, raw.label)]

    def shown(s2: bool, s1: bool) -> tuple[Tensor, Tensor, Tensor]:
        out: tuple[Tensor, Tensor, Tensor] = normaliser(*stored, torch.tensor([[s2, s1]], device=device))
        return out

    s2, s1, label = shown(True, True)
    valid = label != IGNORE
    truth = label[valid].long()
    log_p = (checkpoint.net(s2, s1).float() / checkpoint.temperature).log_softmax(1)
    p = log_p.exp()
    probability, said = p.max(1)
    said = said[valid]
    entropy = -(p * log_p).sum(1)[valid] / math.log(n)
    hidden = None
    if len(checkpoint.sensors) == 2:
        hidden = {}
        for name, keep in (("s2", (False, True)), ("s1", (True, False))):
            other = checkpoint.net(*shown(*keep)[:2]).argmax(1)[valid]
            hidden[name] = _mean(other != said), _mean(other == truth)
    net: Any = checkpoint.net
    shares = net.optical_shares(s2, s1)[0].tolist() if hasattr(net, "optical_shares") else None
    trust = float(net.reliability(s2, s1).mean()) if getattr(net, "orms", None) is not None else None
    confusion = torch.bincount(truth * n + said, minlength=n * n).cpu().numpy().reshape(n, n)
    return make_facts(data.table.iloc[index].to_dict(), confusion, entropy=_mean(entropy),
                      confidence=_mean(probability[valid]), hidden=hidden, optical_shares=shares, reliability=trust,
                      pixels=label.numel(), reference=reference_of([data.label_source]),
                      names=checkpoint.legend.classes)


def _mean(values: Tensor) -> float:
    return float(values.float().mean()) if values.numel() else float("nan")


# -- the check --------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+(?!\w))?|\.\d+")
#: Names that hold a digit and are no numbers.
_NAMES = re.compile(r"(?<![\w.])(?:Sentinel[- ]?[12]|S[12])(?![\w.]*\d)", re.IGNORECASE)
_SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
          "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS: dict[str, float] = {
    **{w: i for i, w in enumerate(_SMALL)}, **{w: 10.0 * (i + 2) for i, w in enumerate(_TENS)},
    "hundred": 100, "thousand": 1000, "million": 1e6, "billion": 1e9, "dozen": 12, "half": 50, "halves": 50,
    "third": 33.3, "thirds": 66.7, "quarter": 25, "quarters": 75, "twice": 2, "double": 2, "thrice": 3, "triple": 3,
}


def held(facts: Any) -> Iterator[float | str]:
    """Every number and every text in facts."""
    if isinstance(facts, Mapping):
        for value in facts.values():
            yield from held(value)
    elif isinstance(facts, list | tuple):
        for value in facts:
            yield from held(value)
    elif isinstance(facts, str) or (isinstance(facts, int | float) and not isinstance(facts, bool)):
        yield facts


def unheld(text: str, facts: Any) -> list[str]:
    """Numbers in a text that the facts do not hold: in digits, in words, in signs such as a half.

    A number must stand in the facts with its value: rounded otherwise, added up or with another sign it is another
    number. Digits in names are none where the whole name stands in the facts (a tile's id, a date), or is a sensor's.
    """
    values = list(held(facts))
    numbers = {float(v) for v in values if not isinstance(v, str)}
    for name in sorted({v for v in values if isinstance(v, str) and re.search(r"\d", v)}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.+-]){re.escape(name)}(?![\w-]|[.,]\d)", " ", text)
    text = _NAMES.sub(" ", text)
    found = []
    for match in _NUMBER.finditer(text):
        before = text[max(0, match.start() - 2):match.start()]
        # A hyphen between words or numbers is none.
        minus = bool(re.search(r"(?:^|[^\w.%)])[-\u2212]$", before)) and len(before) > 0
        try:
            value = float(match[0].replace(",", ""))
        except ValueError:
            value = math.nan
        if (-value if minus else value) not in numbers:
            found.append(("-" if minus else "") + match[0])
    found += [c for c in text if not c.isdecimal() and unicodedata.numeric(c, None) is not None
              and not c.isalpha()]
    found += [w for w in re.findall(r"[^\W\d_]+", text) if w.lower() in _WORDS and _WORDS[w.lower()] not in numbers]
    return found


# -- words ------------------------------------------------------------------------------------------------------------

def _show(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _word(name: str) -> str:
    return name.replace("_", " ")


def template(facts: Mapping[str, Any]) -> str:
    """The facts in words: each number is one of the facts, each sentence stands only where its facts are known."""
    tile, scenes, score, sure = (facts[k] for k in ("tile", "scenes", "scores", "certainty"))
    out = [f"Tile {tile['id']} lies in biome {tile['biome']} ({tile['biome_name']})." if tile["biome"] else
           f"This is tile {tile['id']}."]
    if scenes["gap_hours"] is not None:
        first, gap = scenes["first"], _show(scenes["gap_hours"])
        other = "Sentinel-1" if first == "Sentinel-2" else "Sentinel-2"
        out.append("Both sensors saw it at the same time." if first == "neither" else
                   f"{other} passed {gap} hours after {first}.")
    if scenes["cloud"] is not None:
        out.append(f"The optical scene is {_show(scenes['cloud'])} % cloud.")
    if scenes["tile_cloud"] is not None:
        out.append(f"Of this tile {_show(scenes['tile_cloud'])} % is cloud.")
    if not facts["labelled"]["pixels"]:
        return " ".join([*out, "It has no labelled pixel, so that nothing can be said of the map."])
    labels, whose = facts["labelled"], facts.get("reference", {})  # earlier builds did not say whose
    against = Reference(whose.get("labels", "the labels"), bool(whose.get("truth")))
    out.append(f"Of {_show(labels['pixels'])} labelled pixels {_show(score['overall_accuracy'])} % {against.hits}; "
               f"mIoU is {_show(score['miou'])} % (classes present: {score['classes_present']}).")
    named = [f"{_word(c['name'])} ({_show(c['true'])} % of the labels, {_show(c['mapped'])} % of the map, IoU "
             f"{_show(c['iou'])} %, recall {_show(c['recall'])} %)" for c in facts["classes"] if c["iou"] is not None]
    out.append(f"Classes: {_list(named)}.")
    ghosts = [f"{_word(c['name'])} ({_show(c['mapped'])} %)" for c in facts["classes"]
              if c["iou"] is None and c["mapped"] > 0]
    if ghosts:
        out.append(f"Mapped though no label says so: {_list(ghosts)}.")
    if facts["confusions"]:
        named = [f"{_word(c['true'])} mapped as {_word(c['mapped'])} ({_show(c['share'])} % of the labelled pixels)"
                 for c in facts["confusions"]]
        out.append(f"{'Most frequent mistakes' if against.truth else 'Where they differ most'}: {_list(named)}.")
    else:
        out.append("It makes no mistake here." if against.truth else "It differs nowhere.")
    if sure["entropy"] is not None:
        how = "sure" if sure["entropy"] < SURE else "unsure" if sure["entropy"] > UNSURE else "fairly sure"
        out.append(f"The network is {how} of itself: mean entropy is {_show(sure['entropy'])} % of the largest "
                   f"possible, the chosen class has a mean probability of {_show(sure['confidence'])} %.")
    if facts["sensors"] is not None:
        lean = facts["sensors"]
        words = [f"without {SENSORS[s]} {_show(lean[f'without_{s}']['changed'])} % of the pixels change class and "
                 f"{_show(lean[f'without_{s}']['overall_accuracy'])} % {against.hits}" for s in ("s2", "s1")]
        lead = "It leans on both sensors" if lean["leans_on"] == "both" else f"It leans on {lean['leans_on']}"
        out.append(f"{lead}: {'; '.join(words)}.")
    fusion = facts["fusion"]
    if fusion["optical_shares"]:
        shares = ", ".join(f"{_show(s)} %" for s in fusion["optical_shares"])
        out.append(f"Of what its fusion adds up, the optics give, from the finest scale to the coarsest, {shares}.")
    if fusion["reliability"] is not None:
        out.append(f"It holds the optics to be reliable to {_show(fusion['reliability'])} % on average.")
    return " ".join(out)


def explain(facts: Mapping[str, Any], writer: Writer | None = None, tries: int = TRIES) -> dict[str, Any]:
    """Words for facts.

    Parameters
    ----------
    writer : a language model; None = the template. An answer with a number that the facts do not hold is refused, and
        after ``tries`` of them the template speaks.

    Returns
    -------
    dict: ``text``; ``source``, ``template`` or ``model``; ``refused``, per refused answer its ``numbers`` and ``text``.
    """
    refused: list[dict[str, Any]] = []
    if writer is not None:
        prompt = PROMPT.format(facts=json.dumps(facts))
        for _ in range(tries):
            text = " ".join(writer(prompt).split())
            wrong = unheld(text, facts)
            if text and not wrong:
                return {"text": text, "source": "model", "refused": refused}
            refused.append({"numbers": wrong, "text": text})
            prompt += f" {text}\n\nThese numbers are not in the facts: {', '.join(wrong)}. Explanation without them:"
    return {"text": template(facts), "source": "template", "refused": refused}


# -- stores in, pages out ---------------------------------------------------------------------------------------------

def explain_store(stores: str | Path | Sequence[str | Path], run: str | Path, out: str | Path, *, split: str = "test",
                  limit: int | None = None, expect: str | None = None, device: str | None = None,
                  writer: Writer | None = None, progress: bool = False) -> dict[str, Any]:
    """Explain every tile of a split: ``explanations.jsonl`` (a line per tile: facts, text, source) and
    ``explanations.md``.

    Parameters
    ----------
    stores, run, expect, split : as for :func:`model.evaluate.evaluate`. limit : first tiles only.

    Returns
    -------
    dict: ``tiles``, ``by_model``, ``by_template``, ``refused`` answers of the language model.
    """
    paths = [str(s) for s in ([stores] if isinstance(stores, str | Path) else stores)]
    checkpoint, where = load(run, expect), device_of(device)
    sets = evaluation_sets(paths, split, checkpoint)
    checkpoint.net.to(where)
    normaliser = Normaliser(checkpoint.normalisation).to(where)
    todo = [(data, i) for data in sets for i in range(len(data))][:limit]
    out, summary = Path(out), {"tiles": 0, "by_model": 0, "by_template": 0, "refused": 0}
    banner = synthetic_of(paths)
    records, pages = [], [f"# {checkpoint.name}, split {split}\n", *([f"> {banner}\n"] if banner else [])]
    with step_progress("tiles", len(todo), progress) as show:
        for data, index in todo:
            facts = measure(checkpoint, data, index, normaliser, where)
            said = explain(facts, writer)
            records.append(json.dumps({"facts": facts, **said}))
            pages.append(f"## {skeleton.cell(facts['tile']['id'])}\n\n{skeleton.cell(said['text'])}\n")
            summary["tiles"] += 1
            summary[f"by_{said['source']}"] += 1
            summary["refused"] += len(said["refused"])
            show(summary["tiles"], "")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "explanations.jsonl").write_text("\n".join(records) + "\n")
        (out / "explanations.md").write_text("\n".join(pages))
    except OSError as error:
        raise InputError(f"out {out}: cannot be written ({error.strerror or error})") from None
    return summary
