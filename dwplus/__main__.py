"""``python -m dwplus``."""

from dwplus.cli import main

main()
