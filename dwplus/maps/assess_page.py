"""The page of an assessment: design, accuracy, areas, error matrix; fetches nothing."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from dwplus.maps.estimators import Accuracy, Figure
from dwplus.pages import charts, colours, skeleton


def page(name: str, words: list[str], result: Accuracy, table: pd.DataFrame, matrix: pd.DataFrame,
         parts: pd.DataFrame | None, banner: str = "") -> str:
    """The page as text.

    Parameters
    ----------
    words : on the design first, then on whatever was left out or differs. banner : that pixels are synthetic.
    """
    rows, whole = [], float(table["mapped_km2"].sum())
    for c, row in enumerate(table.to_dict("records")):
        if row["mapped_km2"] or row["points_true"]:
            rows.append([colours.words(str(row["class"])), f"{row['mapped_km2']:,.2f}",
                         _span(result.area[c], whole, 2), _span(result.user[c]), _span(result.producer[c]),
                         _span(result.f1[c]), str(row["points_mapped"]), str(row["points_true"])])
    columns = ("class", "counted, km²", "area, km²", "user's accuracy", "producer's accuracy", "F1", "points mapped",
               "points found")
    sections: list[tuple[str, str, Any]] = [(
        "Areas and accuracy by class", "Counted is what the map shows; the area is the estimate from the sample, with "
        "its 95 % interval.", charts.table([skeleton.ours(name) for name in columns], rows))]
    cells = [[colours.words(str(i)), *(f"{v:.4f}" if v else "·" for v in row)]
             for i, row in zip(matrix.index, matrix.to_numpy(), strict=True)]
    head = ["map / found", *(colours.words(str(c)) for c in matrix.columns)]
    sections.append(("Error matrix", "Shares of the ground; rows are what the map says, columns what was seen.",
                     charts.table(head, cells)))
    if parts is not None:
        sections.append(("Areas by polygon", "Counted, put right by the polygon's own points where there are enough of "
                         "them.", _polygons(parts)))
    facts = [(_span(result.overall), "overall accuracy"), (str(result.points), "points")]
    return skeleton.sections(f"Accuracy and areas of {name}", facts, sections, lead=words[0],
                             notes=[*filter(None, [banner]), *words[1:]])


def _polygons(parts: pd.DataFrame) -> Any:
    rows = []
    for row in parts[parts["mapped_km2"] > 0].to_dict("records"):
        known = math.isfinite(row["area_km2"])
        rows.append([str(row["polygon"]), colours.words(str(row["class"])), f"{row['mapped_km2']:,.2f}",
                     f"{row['area_km2']:,.2f} ({row['area_low_km2']:,.2f} to {row['area_high_km2']:,.2f})" if known
                     else "–", str(row["design"])])
    return charts.table(("polygon", "class", "counted, km²", "area, km²", "what it is"), rows)


def _span(figure: Figure, scale: float = 1.0, digits: int = 3) -> Any:
    if not math.isfinite(figure.value):
        return "not known"
    value = f"{figure.value * scale:,.{digits}f}"
    if not math.isfinite(figure.low):
        return charts.part("aside", value=value, words="interval not known")
    return charts.part("aside", value=value,
                       words=f"{figure.low * scale:,.{digits}f} to {figure.high * scale:,.{digits}f}")
