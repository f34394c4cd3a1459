"""What slopes do to backscatter, taken out by angles; local incidence, layover and shadow.

After Vollrath, Mullissa & Reiche 2020, "Angular-Based Radiometric Slope Correction for Sentinel-1 on Google Earth
Engine", https://doi.org/10.3390/rs12111867, whose factors divide. It is no flattening by area (Small 2011): what a
neighbouring slope hides or folds in is not known to it.

Signs: Earth Engine's aspect is the direction downhill. The incidence angle grows away from the sensor, so downhill of
the angle is towards the sensor, and a slope of that aspect faces the sensor: its range slope is positive, it looks too
bright, and its factor is above 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import ee

#: Codes of the band ``layover_shadow``, as those of OPERA RTC-S1's mask; 0 is neither.
SHADOW, LAYOVER = 1, 2
RADIAN = math.pi / 180


@dataclass(frozen=True)
class View:
    """A pass's view of the ground; all images of one band, on the grid of the request.

    Attributes
    ----------
    theta : incidence angle on the ellipsoid, radians.
    rise : slope in the direction of range, radians; positive where the ground faces the sensor.
    side : slope along the flight, radians.
    """

    theta: ee.Image
    rise: ee.Image
    side: ee.Image

    def local_incidence(self) -> ee.Image:
        """Degrees between the ray and the ground's normal, 0..180; above 90 the ground is in its own shadow."""
        rise, side = self.rise.tan(), self.side.tan()
        stretch = rise.multiply(rise).add(side.multiply(side)).add(1).sqrt()
        cosine = self.theta.sin().multiply(rise).add(self.theta.cos()).divide(stretch)
        found: ee.Image = cosine.acos().divide(RADIAN)
        return found

    def layover_shadow(self, buffer: float = 0.0) -> ee.Image:
        """0 = neither, 1 = shadow, 2 = layover, 3 = both within reach; each grown by ``buffer`` metres."""
        layover = self.rise.gte(self.theta)
        shadow = self.theta.subtract(self.rise).gte(math.pi / 2)
        if buffer:
            layover, shadow = (one.focalMax(buffer, "circle", "meters") for one in (layover, shadow))
        found: ee.Image = shadow.multiply(SHADOW).add(layover.multiply(LAYOVER))
        return found

    def factor(self, model: str) -> ee.Image:
        """Gamma nought on the slope over that on flat ground, linear; it divides.

        ``volume``: what scatters fills the ground evenly, as a canopy does; ``surface``: the ground's area counts.
        """
        towards = self.theta.subtract(self.rise)
        if model == "volume":
            found: ee.Image = self.theta.tan().divide(towards.tan())
        else:
            found = self.theta.sin().divide(self.side.cos().multiply(towards.sin()))
        return found


def view(angle: ee.Image, height: ee.Image) -> View:
    """The view of a pass.

    Parameters
    ----------
    angle : incidence angle on the ellipsoid, degrees, interpolated bilinearly (on the service it is a coarse grid).
    height : metres; where no model is, the sea's level is taken, for models leave out what is all water.
    """
    height = height.unmask(0, False)
    steep = ee.Terrain.slope(height).multiply(RADIAN).tan()
    # Level ground has no aspect, and it is not documented whether it is masked: lakes and the sea must not be lost.
    downhill = ee.Terrain.aspect(height).unmask(0, False)
    turn = ee.Terrain.aspect(angle).subtract(downhill).multiply(RADIAN)
    return View(angle.multiply(RADIAN), steep.multiply(turn.cos()).atan(), steep.multiply(turn.sin()).atan())
