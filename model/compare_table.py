"""The tables of a comparison, in Markdown: what was asked for, and beside it, always, the controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dwplus.pages.words import reference_of
from model.reliability import sentence

SCORES = ("miou", "oa", "macro_f1", "rare_miou")


def _number(value: float | None, factor: float = 100, digits: int = 2) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"


def _span(pair: Sequence[float | None]) -> str:
    low, high = pair
    return "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"


def _apart(row: dict[str, Any]) -> str:
    """The difference to the first entry, with its interval."""
    value = row["difference"]
    return "" if value is None else f"{100 * value:+.2f}{_span(row['difference_interval'])}"


def _rows(group: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Key, name to show and scores of every entry, controls last; earlier builds had none."""
    beside = group.get("controls") or {}
    return [*((text, text, row) for text, row in group["entries"].items()),
            *((text, f"{text} (control)", row) for text, row in beside.items())]


def _whose(report: dict[str, Any]) -> list[str]:
    """What the scores are measured against, and whether pixels are synthetic; earlier builds did not say."""
    said = [f"scores are {reference_of(report['label_sources']).figures}"] if "label_sources" in report else []
    return ["", *said, *filter(None, [report.get("synthetic")])] if said else []


def _cost(cost: dict[str, Any]) -> str:
    """Cells of what an entry costs; a control that is no network has no parameters or MACs."""
    middle, low, high = cost["images_per_second"]
    speed = "-" if middle is None else f"{middle:.2f} [{low:.2f}, {high:.2f}]"
    return (f"{_number(cost['parameters'], 1e-6)} | {_number(cost['gmac'], 1)} | {speed} | "
            f"{cost['train_minutes']:.1f}")


def _overall(report: dict[str, Any]) -> list[str]:
    overall, first = report["overall"], report["reference"]
    costs = {**report["cost"], **report.get("control_cost", {})}
    out = [f"| network | mIoU | OA | F1 | IoU of the rarest ({', '.join(overall['rare'])}) | mIoU against {first} | "
           f"rarest against it | parameters, M | GMAC at {report['tile_px']} px | images/s [5 %, 95 %] | "
           "training, min |",
           "|---" * 11 + "|"]
    for text, name, row in _rows(overall):
        apart = " | ".join("" if text == first else _apart(row[s]) for s in ("miou", "rare_miou"))
        cells = [f"{_number(row[s]['value'])}{_span(row[s]['interval'])}" for s in SCORES]
        out.append(f"| {name} | {' | '.join(cells)} | {apart} | {_cost(costs[text])} |")
    return out


def _against_truth(report: dict[str, Any]) -> list[str]:
    """Scores against what really grows there; the labels' own are the ceiling of whoever learns them by heart."""
    found, first = report.get("against_truth"), report["reference"]
    if not found:
        return []
    out = ["", "against the planet's truth of 1 July of each tile's year, on labelled pixels; the last line is what "
           "the labels themselves reach", "",
           f"| network | mIoU | OA | F1 | IoU of the rarest ({', '.join(found['rare'])}) | mIoU against {first}"
           " |", "|---" * 6 + "|"]
    for text, name, row in _rows(found):
        cells = [f"{_number(row[s]['value'])}{_span(row[s]['interval'])}" for s in SCORES]
        shown = "the labels (ceiling)" if text == "labels" else name
        out.append(f"| {shown} | {' | '.join(cells)} | {'' if text == first else _apart(row['miou'])} |")
    return out


def _by_cloud(report: dict[str, Any]) -> list[str]:
    groups, clouded, first = report["by_cloud_stratum"], report["over_half_cloud"], report["reference"]
    out: list[str] = []
    if len(groups) > 1:
        out += ["", "mIoU by stratum of cloud", "",
                "| ".join(["| network ", *(f"{name} ({g['tiles']} tiles) " for name, g in groups.items()), ""]).strip(),
                "|---" * (len(groups) + 1) + "|"]
        rows = [{text: row["miou"] for text, _, row in _rows(g)} for g in groups.values()]
        for text, name, _ in _rows(report["overall"]):
            cells = [f"{_number(r[text]['value'])}{_span(r[text]['interval'])}" for r in rows]
            out.append(f"| {name} | {' | '.join(cells)} |")
    if clouded:
        out += ["", f"tiles of at least 50 % cloud: {clouded['tiles']} in {clouded['blocks']} blocks", "",
                f"| network | mIoU | mIoU against {first} |", "|---" * 3 + "|"]
        for text, name, row in _rows(clouded):
            miou = row["miou"]
            out.append(f"| {name} | {_number(miou['value'])}{_span(miou['interval'])} | "
                       f"{'' if text == first else _apart(miou)} |")
    return out


def lines(report: dict[str, Any]) -> list[str]:
    """The tables, in Markdown."""
    overall = report["overall"]
    out = [f"split {report['split']}: {overall['tiles']} tiles in {overall['blocks']} blocks, seeds "
           f"{', '.join(map(str, report['seeds']))}; {report['machine']}; 95 % intervals over blocks",
           *_whose(report), "", *_overall(report)]
    if beside := report.get("controls"):
        out += ["", "; ".join(f"{name}: {what}" for name, what in beside.items())]
    out += [*_against_truth(report), *_by_cloud(report)]
    for text, seeds in report["reliability"].items():
        out += ["", f"{text}: {'; '.join(sentence(one) for one in seeds if one)}"]
    return out
