"""From a spec to a plan: which tiles, which label, which scenes. Metadata only, no pixel is fetched."""
