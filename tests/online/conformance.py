"""The conformance report under its name of earlier builds: ``dwplus doctor --conformance`` is the command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dwplus.earth import connect
from dwplus.earth.questions import semantics
from pipelines.conformance import report, statistics, write

__all__ = ["report", "semantics", "statistics"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", help="Google Cloud project; without it the embedded Earth is asked")
    parser.add_argument("-o", "--output", type=Path, default=Path("conformance.json"))
    arguments = parser.parse_args()
    made = write(connect(arguments.project), arguments.output)
    print(json.dumps(made["semantics"], indent=1, default=str))
    print(f"written to {arguments.output}; attach it to an issue")


if __name__ == "__main__":
    main()
