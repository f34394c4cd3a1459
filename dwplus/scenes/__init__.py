"""Scenes and annotated tiles as records: tables without Earth Engine."""

from dwplus.scenes.records import (
    LabelScene,
    OpticalScene,
    RadarScene,
    product_sensing,
    sensing_date,
    sensing_key,
)

__all__ = ["LabelScene", "OpticalScene", "RadarScene", "product_sensing", "sensing_date", "sensing_key"]
