"""From probabilities to files that a GIS opens: blocks, blending, rasters, areas. No torch, no Earth Engine."""
