"""Documents on paper: A4 pages with a letterhead, tables that go on over pages, Latin and Chinese in one open font.

A document is made from rows and nothing else: its creation date is given, so that the same row and language make the
same bytes. The font comes with the npm packages; only the characters that a document uses are embedded in it.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Final

from django.conf import settings
from django.utils.translation import gettext as _
from fontTools import subset
from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace, TTFFont

FONTS: Final = Path(settings.BASE_DIR) / "node_modules" / "@expo-google-fonts" / "noto-sans-sc"
FACES: Final = {"": "400Regular/NotoSansSC_400Regular.ttf", "B": "700Bold/NotoSansSC_700Bold.ttf"}
INK, GREY, RULE, SHADE = (24, 36, 51), (98, 109, 125), (220, 225, 231), (246, 248, 251)
MARGIN: Final = 18
logging.getLogger("fontTools").setLevel(logging.ERROR)
logging.getLogger("fpdf").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Seller:
    """Who issues documents."""

    name: str
    address: tuple[str, ...]
    tax_id: str
    email: str

    def told(self) -> dict[str, Any]:
        """As it is kept with a document."""
        return {"name": self.name, "address": list(self.address), "tax_id": self.tax_id, "email": self.email}


def seller() -> Seller:
    """Who issues documents now, from the settings."""
    lines = tuple(line.strip() for line in settings.SELLER_ADDRESS.split("|") if line.strip())
    return Seller(settings.SELLER_NAME, lines, settings.SELLER_TAX_ID, settings.SUPPORT_EMAIL)


def whole_faces() -> dict[str, Path]:
    """Every character that the font has; reading it takes a second."""
    return {style: FONTS / file for style, file in FACES.items()}


def common_faces() -> dict[str, Path]:
    """The characters of GB 2312 and Latin: a quarter of the font, which is read several times as fast."""
    found = _made(os.getpid())
    if not all(file.exists() for file in found.values()):  # somebody tidied the folder of temporary files
        _made.cache_clear()
        found = _made(os.getpid())
    return found


@cache
def _made(process: int) -> dict[str, Path]:
    """Made once a process, in a folder that is its own and goes with it; a forked process makes its own."""
    folder = Path(mkdtemp(prefix="meterhall-fonts-"))
    atexit.register(_remove, folder, process)
    codes = {*range(0x20, 0x250), *range(0x2010, 0x2040), 0x20AC, 0x2122, 0x2212, 0xFFE5}
    for row in range(0xA1, 0xF8):
        codes |= {
            ord(sign) for sign in bytes(b for cell in range(0xA1, 0xFF) for b in (row, cell)).decode("gb2312", "ignore")
        }
    found = {}
    for style, file in FACES.items():
        options = subset.Options(layout_features=[], hinting=False, name_IDs=[1, 2, 4, 6], notdef_outline=True)
        font = subset.load_font(str(FONTS / file), options)
        wanted = subset.Subsetter(options)
        wanted.populate(unicodes=codes)
        wanted.subset(font)
        found[style] = folder / Path(file).name
        subset.save_font(font, str(found[style]), options)
        font.close()
    return found


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        rmtree(folder, ignore_errors=True)


def draw(make: Callable[[Mapping[str, Path]], Paper]) -> bytes:
    """The document in common characters; once more in all of them where it has a rare one."""
    paper = make(common_faces())
    content = paper.finished()
    if any(font.missing_glyphs for font in paper.fonts.values() if isinstance(font, TTFFont)):
        content = make(whole_faces()).finished()
    return content


class Paper(FPDF):
    """An A4 document with a running head and numbered pages."""

    def __init__(self, faces: Mapping[str, Path], *, title: str, reference: str, issuer: str, at: datetime) -> None:
        super().__init__(format="A4")
        self.reference, self.issuer = reference, issuer
        for style, file in faces.items():
            self.add_font("Noto", style, str(file))
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.set_auto_page_break(True, 24)
        self.set_creation_date(at)
        self.set_title(title)
        self.set_author(issuer)
        self.set_producer("Meterhall")
        self.set_draw_color(*RULE)
        self.add_page()

    def header(self) -> None:
        """From the second page on: whose document this is."""
        if self.page == 1:
            return
        self.say(f"{self.issuer} · {self.reference}", size=8, colour=GREY)
        self.ln(4)

    def footer(self) -> None:
        """The document's number and the page's."""
        self.set_y(-15)
        self.write_in("", 8, GREY)
        self.cell(self.epw / 2, 5, self.reference)
        page = _("Page %(page)s of %(pages)s") % {"page": self.page_no(), "pages": "{nb}"}
        self.cell(self.epw / 2, 5, page, align="R")

    # --- Words --------------------------------------------------------------------------------------------------------
    def write_in(self, style: str, size: float, colour: tuple[int, int, int] = INK) -> None:
        """Choose the face of what follows."""
        self.set_font("Noto", style, size)
        self.set_text_color(*colour)

    def say(
        self,
        text: Any,
        *,
        style: str = "",
        size: float = 9.5,
        colour: tuple[int, int, int] = INK,
        width: float = 0,
        align: str = "L",
    ) -> None:
        """A paragraph; long words and Chinese break where the line ends."""
        self.write_in(style, size, colour)
        self.multi_cell(width, size * 0.5, clean(text), align=align, new_x=XPos.LEFT, new_y=YPos.NEXT)

    def letterhead(self, title: str, subtitle: str) -> None:
        """The issuer's mark and name on the left; what this is on the right."""
        top, half = self.get_y(), self.epw / 2
        if settings.SELLER_LOGO and Path(settings.SELLER_LOGO).is_file():
            self.image(settings.SELLER_LOGO, x=self.l_margin, y=top, h=12, w=half - 6, keep_aspect_ratio=True)
            self.set_y(top + 14)
        self.say(self.issuer, style="B", size=12, width=half - 4)
        left_end = self.get_y()
        self.set_xy(self.l_margin + half, top)
        self.say(title, style="B", size=20, width=half, align="R")
        self.say(subtitle, size=10, colour=GREY, width=half, align="R")
        self.set_xy(self.l_margin, max(left_end, self.get_y()) + 4)
        self.rule()

    def rule(self) -> None:
        """A thin line across."""
        y = self.get_y()
        self.line(self.l_margin, y, self.w - self.r_margin, y)
        self.set_xy(self.l_margin, y + 4)

    def side_by_side(self, *blocks: tuple[str, Sequence[Any]]) -> None:
        """Blocks of lines beside each other, each under its heading."""
        top, width, lowest = self.get_y(), self.epw / len(blocks), self.get_y()
        for number, (heading, lines) in enumerate(blocks):
            self.set_xy(self.l_margin + number * width, top)
            self.say(heading, size=8, colour=GREY, width=width - 5)
            for place, line in enumerate(line for line in lines if line):
                self.say(line, style="" if place else "B", width=width - 5)
            lowest = max(lowest, self.get_y())
        self.set_xy(self.l_margin, lowest + 6)

    def heading(self, text: Any) -> None:
        """A section; it does not stand alone at the foot of a page."""
        if self.will_page_break(24):
            self.add_page()
        self.say(text, style="B", size=11.5)
        self.ln(1.5)

    def rows(
        self,
        head: Sequence[Any],
        body: Sequence[Sequence[Any]],
        *,
        widths: Sequence[int],
        numbers: Sequence[int] = (),
        strong: Sequence[int] = (),
    ) -> None:
        """A table; its head is repeated on every page. `numbers` are right-aligned, rows `strong` stand out."""
        self.write_in("", 8.5)
        align = tuple("RIGHT" if place in numbers else "LEFT" for place in range(len(widths)))
        shown = FontFace(emphasis="BOLD", color=GREY, size_pt=8)
        with self.table(
            col_widths=tuple(widths),
            text_align=align,
            headings_style=shown,
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            line_height=4.6,
            padding=(1.1, 1),
            repeat_headings=1,
        ) as table:
            table.row([clean(cell) for cell in head])
            for number, told in enumerate(body):
                bold = FontFace(emphasis="BOLD", fill_color=SHADE) if number in strong else None
                table.row([clean(cell) for cell in told], style=bold)
        self.ln(5)

    def finished(self) -> bytes:
        """The document. Its fonts' files are closed, so that nothing can be added afterwards."""
        try:
            return bytes(self.output())
        finally:
            for font in self.fonts.values():
                if isinstance(font, TTFFont):
                    font.ttfont.close()


def clean(text: Any) -> str:
    """Text without what no font has a shape for: control characters other than the line's end."""
    return "".join(sign for sign in str(text) if sign == "\n" or sign.isprintable())
