"""A model's image rule in words, and the calculator's question about images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from billing.catalog.images import LONGEST, MOST_IMAGES, Image, ImageRule
from config.templatetags import ui

EXAMPLES: Final = ((512, 512), (1024, 1024), (1920, 1080))


def words(rule: ImageRule) -> list[str]:
    """The rule, a sentence for each step."""
    found = list(_STEPS[rule.kind](rule))
    if rule.low_tokens is not None:
        found.append(_("In low detail an image is %(n)s tokens.") % {"n": ui.count(rule.low_tokens)})
    return found


def _tiles(rule: ImageRule) -> list[str]:
    found = []
    if rule.small is not None:
        found.append(_("An image of at most %(n)s pixels a side is one tile.") % {"n": ui.count(rule.small)})
    if rule.fit is not None:
        found.append(_("A larger image is shrunk to fit %(n)s × %(n)s pixels.") % {"n": ui.count(rule.fit)})
    if rule.short_side is not None:
        found.append(_("Its shorter side is then shrunk to at most %(n)s pixels.") % {"n": ui.count(rule.short_side)})
    found.append(
        _("Each tile of %(side)s × %(side)s pixels, also one begun, is %(n)s tokens.")
        % {"side": ui.count(rule.tile), "n": ui.count(rule.tile_tokens)}
    )
    if rule.base_tokens:
        found.append(_("%(n)s tokens are added for the image.") % {"n": ui.count(rule.base_tokens)})
    return found


def _area(rule: ImageRule) -> list[str]:
    found = []
    if rule.longest_side is not None:
        found.append(_("Its longer side is shrunk to at most %(n)s pixels.") % {"n": ui.count(rule.longest_side)})
    found.append(_("Every %(n)s pixels are one token.") % {"n": ui.count(rule.pixels_per_token)})
    if rule.max_tokens is not None:
        found.append(_("An image is at most %(n)s tokens.") % {"n": ui.count(rule.max_tokens)})
    return found


def _patches(rule: ImageRule) -> list[str]:
    found = [_("Each patch of %(side)s × %(side)s pixels, also one begun, counts.") % {"side": ui.count(rule.patch)}]
    if rule.max_patches is not None:
        found.append(_("A larger image is shrunk to at most %(n)s patches.") % {"n": ui.count(rule.max_patches)})
    found.append(_("Patches × %(n)s are the tokens, rounded up.") % {"n": f"{rule.multiplier.normalize():f}"})
    return found


def _fixed(rule: ImageRule) -> list[str]:
    return [_("An image is %(n)s tokens, whatever its size.") % {"n": ui.count(rule.tokens)}]


_STEPS: Final = {"tiles": _tiles, "area": _area, "patches": _patches, "fixed": _fixed}


@dataclass(frozen=True, slots=True)
class Question:
    """The calculator's three fields as they were filled in, and what they come to."""

    number: str
    width: str
    height: str
    steps: list[str]
    examples: list[tuple[int, int, int]]
    many: int
    each: int | None
    tokens: int
    problem: str

    def added(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """The calculator's quantities with the images' tokens."""
        found = dict(told)
        if self.tokens:
            for name in ("input_tokens", "input_image_tokens"):
                text = str(found.get(name) or "0")
                # What is no number stays what it is: the calculator says so.
                found[name] = str(int(text) + self.tokens) if text.isdecimal() and len(text) < 17 else text
        return found


def question(rule: ImageRule, params: Mapping[str, str]) -> Question:
    """What the page asks about images of the input, with the rule in words."""
    number, width, height = (
        (params.get(f"input_image_{name}") or default).strip()[:10]
        for name, default in (("number", "0"), ("width", "1024"), ("height", "1024"))
    )
    each, tokens, problem = None, 0, ""
    many, wide, high = (_whole(text) for text in (number, width, height))
    if many is None or many > MOST_IMAGES:
        problem = _("A call takes at most %(n)s images.") % {"n": MOST_IMAGES}
    elif wide is None or high is None or not 1 <= wide <= LONGEST or not 1 <= high <= LONGEST:
        problem = _("An image's sides are whole numbers of pixels.")
    else:
        each = rule.count(Image(wide, high))
        tokens = many * each
    examples = [(w, h, rule.count(Image(w, h))) for w, h in EXAMPLES]
    return Question(number, width, height, words(rule), examples, many or 0, each, tokens, problem)


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() else None
