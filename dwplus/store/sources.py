"""What a store says of itself: where it comes from, its bands and units, what its arrays of pixels hold."""

from __future__ import annotations

from typing import Any

from dwplus.spec import DatasetSpec, radar
from dwplus.spec.extras import WORLDCOVER, extra
from dwplus.store.imported import ImportSpec
from dwplus.store.legend import Legend, dynamic_world_units
from dwplus.taxonomy import BIOMES, IGNORE

#: Licence and attribution of what the pixels are made from.
SOURCES = {
    "labels": {"collection": "GOOGLE/DYNAMICWORLD/V1", "licence": "CC-BY-4.0",
               "attribution": "Dynamic World, Google and World Resources Institute, Brown et al. 2022"},
    "sentinel2": {"collection": "COPERNICUS/S2_SR_HARMONIZED", "licence": "Copernicus Sentinel data terms",
                  "attribution": "contains modified Copernicus Sentinel data"},
    "sentinel1": {"collection": "COPERNICUS/S1_GRD", "licence": "Copernicus Sentinel data terms",
                  "attribution": "contains modified Copernicus Sentinel data"},
    "ecoregions": {"collection": "RESOLVE/ECOREGIONS/2017", "licence": "CC-BY-4.0",
                   "attribution": "Ecoregions 2017, RESOLVE, Dinerstein et al. 2017"},
}
#: The same for labels annotated by people.
ANNOTATIONS = {"collection": "PANGAEA 933475", "licence": "CC-BY-4.0",
               "attribution": "Dynamic World training data, Tait et al. 2021, doi.org/10.1594/PANGAEA.933475"}


def of_export(spec: DatasetSpec) -> dict[str, Any]:
    """What the root of an exported store says of classes, bands and sources."""
    product = "COPERNICUS/S2_SR_HARMONIZED" if spec.sentinel2.product == "sr" else "COPERNICUS/S2_HARMONIZED"
    sources = {
        **SOURCES, "sentinel2": {**SOURCES["sentinel2"], "collection": product},
        **({"labels": {**ANNOTATIONS, "collection": spec.labels.asset or ANNOTATIONS["collection"]}}
           if spec.labels.source == "annotations" else {}),
        **({"labels": _source_of_map(spec)} if spec.labels.source == "asset" else {}),
        **({"dem": extra("dem", elevation=spec.elevation).source} if spec.sentinel1.sloped else {}),
        **({"sentinel1": radar.RTC_SOURCE} if spec.sentinel1.product == "rtc" else {}),
        **{one.name: one.source for one in spec.extra_arrays}}
    labels = "Dynamic World" if spec.labels.source != "asset" else spec.labels.asset
    return {
        "band_units": dynamic_world_units(spec.sentinel2.bands, spec.s1_bands),
        "biomes": {str(number): name for number, name in BIOMES.items()}, "label_source": spec.labels.source,
        "sources": sources, "title": f"{spec.name}: Sentinel-2, Sentinel-1 and {labels} labels",
        "source": "; ".join(one["attribution"] for one in sources.values()),
        "license": "Dynamic World and Ecoregions 2017: CC-BY-4.0; Copernicus Sentinel data: its legal notice"
                   + "; OPERA RTC-S1: CC0-1.0" * (spec.sentinel1.product == "rtc"),
        "references": "https://doi.org/10.1038/s41597-022-01307-4, https://arxiv.org/abs/2410.03962"}


def _source_of_map(spec: DatasetSpec) -> dict[str, str]:
    """Where labels of a map come from; of maps that are an extra as well, with licence and attribution."""
    asset = str(spec.labels.asset)
    known = extra("worldcover").source if asset in WORLDCOVER.values() else {"licence": "see its page", "attribution":
                                                                             f"labels: {asset}"}
    return {**known, "collection": asset}


def _words_of_radar(spec: DatasetSpec) -> str:
    asked = spec.sentinel1
    others = {"local_incidence": "local_incidence: degrees from the ground's normal",
              "layover_shadow": "layover_shadow: 0 = neither, 1 = shadow, 2 = layover, 3 = both"}
    bands = "; ".join(["angle: incidence angle, degrees", *(others[name] for name in asked.keep)])
    if asked.product == "rtc":
        return f"Sentinel-1 {radar.GAMMA_RTC}; layover and shadow masked; 30 m, bilinear in linear power ({bands})"
    what = "backscatter" if asked.terrain == "none" else (
        f"gamma nought, slopes divided out by angles (model {asked.terrain_model}), layover and shadow masked")
    if asked.speckle != "none":
        what += f", speckle filter {asked.speckle}" + f" of {asked.speckle_scenes} passes" * asked.multitemporal
    return f"Sentinel-1 GRD {what} ({bands})"


def words_of_pixels(spec: DatasetSpec | ImportSpec, legend: Legend) -> dict[str, dict[str, Any]]:
    """What arrays of pixels say of themselves."""
    flags = {"flag_values": list(range(len(legend))), "flag_meanings": " ".join(legend.classes), "ignore": IGNORE}
    if isinstance(spec, DatasetSpec):
        return {"s2": {"long_name": "Sentinel-2 reflectance, digital numbers as delivered (reflectance x 10000), "
                                    "harmonised", "units": "1e-4"},
                "s1": {"long_name": _words_of_radar(spec), "units": "dB"},
                "label": {"long_name": "Dynamic World class, 255 = ignore" if legend == Legend() else
                          f"class of {legend.table}, 255 = ignore", **flags}}
    units = {name: sorted({spec.band_units[band] for band in bands}) for name, bands in (
        ("s2", spec.sentinel2.bands), ("s1", spec.s1_bands))}
    about = {"reflectance": ("1e-4", "reflectance x 10000"), "display": ("1", "grey values for display"),
             "dB": ("dB", "backscatter")}
    unit = {name: about.get(found[0], ("1", found[0])) if len(found) == 1 else ("1", "see band_units")
            for name, found in units.items()}
    return {"s2": {"long_name": f"optical bands, {unit['s2'][1]}", "units": unit["s2"][0]},
            "s1": {"long_name": f"radar bands, {unit['s1'][1]}", "units": unit["s1"][0]},
            "label": {"long_name": f"class of {legend.table}, 255 = ignore", **flags}}
