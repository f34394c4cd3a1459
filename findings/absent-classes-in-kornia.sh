#!/usr/bin/env bash
# Does kornia's mean_iou count classes that occur in neither labels nor predictions?
#
# Four pixels of two classes, half of one missed, scored with nine classes. Guess before running: 0 for the absent ones,
# which a user takes out of the mean.
#
# Seen: 1.0, as if they had been found perfectly (a small eps stands above and below the line), so that the mean of what
# mean_iou returns is 0.91 where the two classes give 0.58: a tile with few classes scores best. It gives one row for
# each image as well: the mean over tiles is not the mean IoU of the data set. Take both from confusion_matrix.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'kornia==0.9.0' 'torch==2.13.0' 'numpy==2.4.6'
cat > "$work/expected" <<'TEXT'
by class [0.67, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0] their mean 0.91
of the classes that occur 0.58
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import torch
from kornia.metrics import confusion_matrix, mean_iou

said, truth = torch.tensor([[0, 0, 1, 0]]), torch.tensor([[0, 0, 1, 1]])
each = mean_iou(said, truth, 9)[0]
print("by class", [round(float(x), 2) for x in each], "their mean", round(float(each.mean()), 2))
counts = confusion_matrix(said, truth, 9).sum(0)
union = counts.sum(0) + counts.sum(1) - counts.diagonal()
print("of the classes that occur", round(float((counts.diagonal() / union)[union > 0].mean()), 2))
PYTHON
diff expected seen
echo "as written: absent-classes-in-kornia"
