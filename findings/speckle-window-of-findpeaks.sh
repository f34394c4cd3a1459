#!/usr/bin/env bash
# Do the speckle filters of findpeaks keep a bright target where it is?
#
# A single bright pixel at (3, 3) in even ground, window of 3. Guess before running: the pixels that change are those
# of the 3 by 3 window around it, rows and columns 2 to 4.
#
# Seen: Lee, Kuan, Frost and mean change rows and columns 3 and 4 only: a window of win_size counts the pixels up to,
# but not with, the centre plus half (Python's slice end), so that it is even, win_size - 1 wide, and lies up and left
# of its pixel; everything moves by half a pixel down and right, at 10 m by 5 m each way. Backscatter in dB, which is
# negative, ends in an exception in the Lee filter.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'findpeaks==2.7.5'
cat > "$work/expected" <<'TEXT'
lee changes rows 3 to 4 columns 3 to 4
kuan changes rows 3 to 4 columns 3 to 4
frost changes rows 3 to 4 columns 3 to 4
mean changes rows 3 to 4 columns 3 to 4
lee in dB: ERROR: lee_filter(), pixel filtered can't be negative
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import numpy as np
from findpeaks.filters.frost import frost_filter
from findpeaks.filters.kuan import kuan_filter
from findpeaks.filters.lee import lee_filter
from findpeaks.filters.mean import mean_filter

ground = np.ones((7, 7))
ground[3, 3] = 100
for name, smooth in (("lee", lee_filter), ("kuan", kuan_filter), ("frost", frost_filter), ("mean", mean_filter)):
    changed = np.argwhere(np.abs(smooth(ground.copy(), win_size=3) - 1) > 1e-9)
    print(name, "changes rows", changed[:, 0].min(), "to", changed[:, 0].max(), "columns", changed[:, 1].min(), "to",
          changed[:, 1].max())
try:
    lee_filter(np.full((7, 7), -12.0), win_size=3)
except Exception as error:
    print("lee in dB:", error)
PYTHON
diff expected seen
echo "as written: speckle-window-of-findpeaks"
