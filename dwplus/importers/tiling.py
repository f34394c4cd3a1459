"""How scenes of any size become tiles of one size."""

from __future__ import annotations

from dwplus.errors import InputError


def cut(height: int, width: int, size: int, edge: str) -> list[tuple[int, int]]:
    """Upper left corners (row, column) of the tiles of a scene, row by row.

    Parameters
    ----------
    edge : what becomes of the last row and column where the side is no multiple of ``size``. ``pad``: tiles run on
        beyond the scene, without data and label there, so that every pixel counts once. ``shift``: they are moved
        inwards, so that some pixels lie in two tiles. ``drop``: they are left out. Scenes smaller than a tile are
        padded, whatever is said; ``drop`` leaves them out.

    Raises
    ------
    InputError
        On another word.
    """
    if edge not in ("pad", "shift", "drop"):
        raise InputError(f"edge {edge!r}: must be pad, shift or drop")
    return [(row, column) for row in _starts(height, size, edge) for column in _starts(width, size, edge)]


def _starts(side: int, size: int, edge: str) -> list[int]:
    whole = list(range(0, side - size + 1, size))
    rest = side - (whole[-1] + size if whole else 0)
    if not rest or edge == "drop":
        return whole
    if edge == "shift" and side >= size:
        return [*whole, side - size]
    return [*whole, whole[-1] + size if whole else 0]
