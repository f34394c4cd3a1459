"""What a store holds, for people: a page of text here, the page of HTML in :mod:`dwplus.report.page`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dwplus.spec.radar import quantity, share_of
from dwplus.store import layout
from dwplus.store.imported import is_imported
from dwplus.store.legend import legend_of
from dwplus.store.places import place_of
from dwplus.store.reader import tile_table
from dwplus.store.summary import by_biome_lines, summarise_table


def describe(store: str | Path) -> str:
    """A page of text: what the store is, what became of its tiles, gaps, splits, classes, size on disk.

    Raises
    ------
    InputError
        Where there is no store.
    """
    root = layout.open_root(store)
    attrs = root.attrs.asdict()
    table = tile_table(store)
    summary = summarise_table(table)
    spec, plan = attrs["spec"], attrs["plan"]
    assert isinstance(spec, dict)
    assert isinstance(plan, dict)
    rejected = "".join(f" + {n} rejected:{reason}" for reason, n in plan["rejected"].items())
    size = sum(place_of(store).files().values())
    lines = [
        f"{spec['name']}  ({store})",
        f"  made          {attrs['created']} by dwplus {attrs['dwplus_version']}, from {attrs['earth']}",
        *(_imported(spec, attrs) if is_imported(attrs) else _exported(spec, attrs)),
        f"  tiles         {spec['tile']['size']} x {spec['tile']['size']} px of {spec['tile']['scale']:g} m",
        f"  plan          {plan['candidates']} candidates = {plan['planned']} planned{rejected}",
        f"  store         {summary.line}",
        f"  on disk       {size / 1e6:.1f} MB, {size / max(1, summary.exported) / 1e6:.2f} MB an exported tile",
    ]
    exported = table[table["status"] == "exported"]
    if len(exported):
        gaps = exported["gap_hours"]
        splits = exported["split"].value_counts()
        names = [name for name in layout.SPLIT_FLAGS if name in layout.SPLITS or splits[name]]
        lines += [
            f"  splits        {', '.join(f'{name} {splits[name]}' for name in names)}",
            *([f"  gap S1 - S2   median |gap| {gaps.abs().median():.1f} h, from {gaps.min():+.1f} to {gaps.max():+.1f} "
               "h"] if gaps.notna().any() else []),
            f"  valid pixels  {exported['valid_fraction'].mean():.1%} on average, "
            f"{exported['valid_fraction'].min():.1%} at the least",
        ]
        classes = legend_of(attrs, f"store {store}").classes
        counts = exported[[f"count_{c}" for c in classes]].sum()
        total = max(1, int(counts.sum()))
        lines.append("  classes       " + ", ".join(f"{c} {counts[f'count_{c}'] / total:.1%}" for c in classes))
    lines += ["", *("  " + line for line in by_biome_lines(summary))]
    for reason, example in summary.examples.items():
        lines.append(f"  {reason}: e.g. {example}")
    return "\n".join(lines)


def _exported(spec: Any, attrs: Any) -> list[str]:
    windows = ", ".join(f"{w['start']} to {w['end']}" for w in spec["windows"])
    source = spec["labels"].get("asset") if attrs["label_source"] == "asset" else attrs["label_source"]
    return [f"  labels        {source}, {windows}",
            f"  Sentinel-2    {spec['sentinel2']['product']}: {' '.join(spec['sentinel2']['bands'])}",
            f"  Sentinel-1    {spec['sentinel1']['policy']}, |gap| <= {spec['sentinel1']['max_gap_hours']:g} h",
            *([f"                {quantity(spec)}"] if spec["sentinel1"].get("product") == "rtc" else []),
            *([f"                {line}"] if (line := share_of(attrs)) else []),
            *([f"  extras        {', '.join(spec['extras'])}"] if spec.get("extras") else [])]


def _imported(spec: Any, attrs: Any) -> list[str]:
    units = attrs["band_units"]
    return [f"  labels        {attrs['label_source']}, classes of {attrs['class_table']}",
            *(f"  {title:<13} {', '.join(f'{band} ({units[band]})' for band in spec[key]['bands'])}"
              for title, key in (("optical", "sentinel2"), ("radar", "sentinel1"))),
            f"  splits by     {spec['origin']['splits']}", f"  licence       {attrs['license']}"]
