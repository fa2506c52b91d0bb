"""A picture in the place of a QR code: the three corner marks, and squares drawn from the session's id."""

import hashlib

SIDE = 29
CORNER = 7


def picture(text: str) -> str:
    """An SVG of black squares on white."""
    squares = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1"/>'
        for y in range(SIDE)
        for x in range(SIDE)
        if _is_black(text, x, y)
    )
    edge = SIDE + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {edge} {edge}" shape-rendering="crispEdges">'
        f'<rect x="-2" y="-2" width="{edge}" height="{edge}" fill="#fff"/>{squares}</svg>'
    )


def _is_black(text: str, x: int, y: int) -> bool:
    for left, top in ((0, 0), (SIDE - CORNER, 0), (0, SIDE - CORNER)):
        inside = left - 1 <= x <= left + CORNER and top - 1 <= y <= top + CORNER
        if inside:
            away = max(abs(x - left - 3), abs(y - top - 3))
            return away <= 1 or away == 3
    row = hashlib.sha256(f"{text}:{y}".encode()).digest()
    return bool(row[x] & 1)
