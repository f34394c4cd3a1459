"""What land cover is called: classes with codes and colours, biomes, strata of cloud, class tables of data sets."""

from dwplus.taxonomy.biomes import BIOMES
from dwplus.taxonomy.labels import CLASSES, IGNORE, PALETTE, SIX, annotation_to_label, from_six, to_six
from dwplus.taxonomy.strata import STRATA, STRATUM_NAMES, stratum_of

__all__ = ["BIOMES", "CLASSES", "IGNORE", "PALETTE", "SIX", "STRATA", "STRATUM_NAMES", "annotation_to_label",
           "from_six", "stratum_of", "to_six"]
