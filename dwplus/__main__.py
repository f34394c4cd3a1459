"""``python -m dwplus``."""

import os
import sys
from pathlib import Path

# Python puts the user's folder before all else, and Dask's worker processes inherit it: a file model.py that lies there
# would be taken for our package. A checkout that is run where it lies keeps its folder.
if sys.path and os.path.realpath(sys.path[0]) == os.getcwd() and not Path("dwplus", "__main__.py").exists():
    del sys.path[0]

from dwplus.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
