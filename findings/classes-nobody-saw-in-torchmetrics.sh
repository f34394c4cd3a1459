#!/usr/bin/env bash
# What does torchmetrics report for classes that occur in neither labels nor predictions?
#
# Four pixels of two classes, scored with nine (a tile without snow, water, ...). Guess before running: average="none"
# gives NaN for the absent ones, as they are left out of average="macro".
#
# Seen: they are left out of "macro" (0.58) but stand as 0.0 among the scores by class, so that the mean of the
# printed column (0.13) is not the printed mean, and a class nobody saw looks like one that was always missed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'torchmetrics==1.9.0' 'torch==2.13.0' 'numpy==2.4.6'
cat > "$work/expected" <<'TEXT'
by class [0.67, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0] their mean 0.13
macro 0.58
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import torch
from torchmetrics.classification import MulticlassJaccardIndex

said, truth = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 0])
each = MulticlassJaccardIndex(9, average="none")(said, truth)
print("by class", [round(float(x), 2) for x in each], "their mean", round(float(each.mean()), 2))
print("macro", round(float(MulticlassJaccardIndex(9, average="macro")(said, truth)), 2))
PYTHON
diff expected seen
echo "as written: classes-nobody-saw-in-torchmetrics"
