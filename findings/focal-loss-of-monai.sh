#!/usr/bin/env bash
# Is MONAI's FocalLoss with gamma 0 the cross entropy?
#
# Three classes, use_softmax=True, no weights. Guess before running: yes, as in the paper.
#
# Seen: it is a third of it: "mean" divides by the classes as well as by the pixels, so that with nine classes a
# learning rate or a weight tuned on cross entropy is off by nine. And a label of 255 (ignore) is an indexing error in
# to_onehot_y, there being no ignore_index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    'monai==1.6.1' 'torch==2.13.0' 'numpy==2.4.6'
cat > "$work/expected" <<'TEXT'
focal 0.3662
cross entropy 1.0986
index 255 is out of bounds for dimension 1 with size 3
TEXT
cd "$work"
env/bin/python -W ignore - > seen <<'PYTHON'
import torch
from monai.losses import FocalLoss

logits = torch.zeros(1, 3, 4, 4)
label = torch.zeros(1, 1, 4, 4)
print("focal", round(float(FocalLoss(to_onehot_y=True, use_softmax=True, gamma=0)(logits, label)), 4))
print("cross entropy", round(float(torch.nn.functional.cross_entropy(logits, label[:, 0].long())), 4))
label[0, 0, 0, 0] = 255
try:
    FocalLoss(to_onehot_y=True, use_softmax=True)(logits, label)
except RuntimeError as error:
    print(error)
PYTHON
diff expected seen
echo "as written: focal-loss-of-monai"
