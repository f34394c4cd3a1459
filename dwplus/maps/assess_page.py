"""The page of an assessment: design, accuracy, areas, error matrix; fetches nothing."""

from __future__ import annotations

import math

import pandas as pd

from dwplus.maps.estimators import Accuracy, Figure
from dwplus.report import charts
from dwplus.report.charts import esc


def page(name: str, words: list[str], result: Accuracy, table: pd.DataFrame, matrix: pd.DataFrame,
         parts: pd.DataFrame | None) -> str:
    """The page as text.

    Parameters
    ----------
    words : on the design first, then on whatever was left out or differs.
    """
    head = (f"<header><h1>Accuracy and areas of {esc(name)}</h1><p class='lead'>{esc(words[0])}</p>"
            f"<div class='facts'><div><b>{_span(result.overall)}</b><span>overall accuracy</span></div>"
            f"<div><b>{result.points}</b><span>points</span></div></div></header>")
    notes = "".join(f"<p class='note'>{esc(text)}</p>" for text in words[1:])
    rows, whole = [], float(table["mapped_km2"].sum())
    for c, row in enumerate(table.to_dict("records")):
        if row["mapped_km2"] or row["points_true"]:
            rows.append([esc(str(row["class"]).replace("_", " ")), f"{row['mapped_km2']:,.2f}",
                         _span(result.area[c], whole, 2), _span(result.user[c]), _span(result.producer[c]),
                         _span(result.f1[c]), str(row["points_mapped"]), str(row["points_true"])])
    sections = [head + notes, _section(
        "Areas and accuracy by class", "Counted is what the map shows; the area is the estimate from the sample, with "
        "its 95 % interval.", charts.table(("class", "counted, km²", "area, km²", "user's accuracy",
                                            "producer's accuracy", "F1", "points mapped", "points found"), rows))]
    cells = [[esc(str(i).replace("_", " ")), *(f"{v:.4f}" if v else "·" for v in row)]
             for i, row in zip(matrix.index, matrix.to_numpy(), strict=True)]
    sections.append(_section("Error matrix", "Shares of the ground; rows are what the map says, columns what was seen.",
                             charts.table(["map / found", *(esc(str(c).replace("_", " ")) for c in matrix.columns)],
                                          cells)))
    if parts is not None:
        sections.append(_section("Areas by polygon", "Counted, put right by the polygon's own points where there are "
                                 "enough of them.", _polygons(parts)))
    return charts.page(f"Accuracy of {name}", sections)


def _polygons(parts: pd.DataFrame) -> str:
    rows = []
    for row in parts[parts["mapped_km2"] > 0].to_dict("records"):
        known = math.isfinite(row["area_km2"])
        rows.append([esc(str(row["polygon"])), esc(str(row["class"]).replace("_", " ")), f"{row['mapped_km2']:,.2f}",
                     f"{row['area_km2']:,.2f} ({row['area_low_km2']:,.2f} to {row['area_high_km2']:,.2f})" if known
                     else "–", esc(str(row["design"]))])
    return charts.table(("polygon", "class", "counted, km²", "area, km²", "what it is"), rows)


def _section(title: str, words: str, part: str) -> str:
    return f"<section><h2>{title}</h2><p class='soft'>{words}</p>{part}</section>"


def _span(figure: Figure, scale: float = 1.0, digits: int = 3) -> str:
    if not math.isfinite(figure.value):
        return "not known"
    value = f"{figure.value * scale:,.{digits}f}"
    if not math.isfinite(figure.low):
        return f"{value} <small>interval not known</small>"
    return f"{value} <small>{figure.low * scale:,.{digits}f} to {figure.high * scale:,.{digits}f}</small>"
