"""What an image in the input counts as, in tokens, by its size (F053). Pure.

Vendors state it in their documentation, each in one of four ways; a model's rule says which, with its numbers. It is
used for estimates: a call is charged for the tokens that its provider counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from math import isqrt
from typing import Any, Final, Literal

from django.utils.translation import gettext_lazy as _

from billing.errors import InvalidPrice, InvalidUsage
from billing.money import parse_decimal

MOST_IMAGES: Final = 100
LONGEST: Final = 100_000  # pixels of a side
MOST_TOKENS: Final = 1_000_000  # of one image
DETAILS: Final = ("auto", "low", "high", "original")

Kind = Literal["tiles", "area", "patches", "fixed"]


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a call's input."""

    width: int
    height: int
    low: bool = False


@dataclass(frozen=True, slots=True)
class ImageRule:
    """How one model counts an image. Numbers that a kind does not use are None.

    `tiles`: it is fitted into a square of `fit`, then shrunk until its shorter side is `short_side`; each started tile
    of `tile` pixels costs `tile_tokens`, the image `base_tokens`. An image whose sides are at most `small` counts as
    one tile. `area`: fitted so that its longer side is at most `longest_side`; one token for each `pixels_per_token`,
    at most `max_tokens`. `patches`: squares of `patch` pixels, shrunk to at most `max_patches`, times `multiplier`.
    `fixed`: always `tokens`. With `low_tokens`, an image in low detail costs just that.
    """

    kind: Kind
    fit: int | None = None
    short_side: int | None = None
    tile: int | None = None
    base_tokens: int = 0
    tile_tokens: int | None = None
    small: int | None = None
    pixels_per_token: int | None = None
    longest_side: int | None = None
    max_tokens: int | None = None
    patch: int | None = None
    max_patches: int | None = None
    multiplier: Decimal = Decimal(1)
    tokens: int | None = None
    low_tokens: int | None = None

    def count(self, image: Image) -> int:
        """Tokens of one image."""
        if image.low and self.low_tokens is not None:
            return self.low_tokens
        return _COUNT[self.kind](self, image.width, image.height)


# name -> (kinds that take it, kinds that need it, most)
_NUMBERS: Final[dict[str, tuple[frozenset[str], frozenset[str], int]]] = {
    "fit": (frozenset({"tiles"}), frozenset(), LONGEST),
    "short_side": (frozenset({"tiles"}), frozenset(), LONGEST),
    "tile": (frozenset({"tiles"}), frozenset({"tiles"}), LONGEST),
    "base_tokens": (frozenset({"tiles"}), frozenset(), MOST_TOKENS),
    "tile_tokens": (frozenset({"tiles"}), frozenset({"tiles"}), MOST_TOKENS),
    "small": (frozenset({"tiles"}), frozenset(), LONGEST),
    "pixels_per_token": (frozenset({"area"}), frozenset({"area"}), LONGEST**2),
    "longest_side": (frozenset({"area"}), frozenset(), LONGEST),
    "max_tokens": (frozenset({"area"}), frozenset(), MOST_TOKENS),
    "patch": (frozenset({"patches"}), frozenset({"patches"}), LONGEST),
    "max_patches": (frozenset({"patches"}), frozenset(), MOST_TOKENS),
    "tokens": (frozenset({"fixed"}), frozenset({"fixed"}), MOST_TOKENS),
    "low_tokens": (frozenset({"tiles", "area", "patches", "fixed"}), frozenset(), MOST_TOKENS),
}
KINDS: Final = ("tiles", "area", "patches", "fixed")
_MAY_BE_ZERO: Final = frozenset({"base_tokens", "low_tokens", "tokens"})


def read_rule(body: object) -> ImageRule:
    """A rule out of a document. Raises InvalidPrice naming the field."""
    if not isinstance(body, Mapping):
        raise InvalidPrice(_("%(field)s must be an object."), field="image_tokens")
    kind = body.get("kind")
    if kind not in KINDS:
        raise InvalidPrice(_("%(field)s must be tiles, area, patches or fixed."), field="kind")
    told: dict[str, Any] = {"kind": kind}
    for name, value in body.items():
        if name == "kind" or value is None:
            continue
        if name == "multiplier" and kind == "patches":
            told[name] = _multiplier(value)
            continue
        taken, _needed, most = _NUMBERS.get(name, (frozenset(), frozenset(), 0))
        if kind not in taken:
            raise InvalidPrice(_("%(field)s is not a number of this kind of rule."), field=str(name)[:64])
        least = 0 if name in _MAY_BE_ZERO else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidPrice(_("%(field)s must be a whole number of sensible size."), field=name)
        told[name] = value
    for name, (_taken, needed, _most) in _NUMBERS.items():
        if kind in needed and name not in told:
            raise InvalidPrice(_("%(field)s is missing."), field=name)
    return ImageRule(**told)


def rule_body(rule: ImageRule) -> dict[str, Any]:
    """A rule as a document holds it."""
    body: dict[str, Any] = {"kind": rule.kind}
    for name, (taken, _needed, _most) in _NUMBERS.items():
        value = getattr(rule, name)
        if rule.kind in taken and value is not None and (value or name != "base_tokens"):
            body[name] = value
    if rule.kind == "patches" and rule.multiplier != 1:
        body["multiplier"] = f"{rule.multiplier.normalize():f}"
    return body


def read_images(told: object) -> list[Image]:
    """`input_images` of an estimate or quote. Raises InvalidUsage naming the place."""
    if not isinstance(told, Sequence) or isinstance(told, str | bytes):
        raise InvalidUsage(_("%(field)s must be a list."), field="input_images")
    if len(told) > MOST_IMAGES:
        raise InvalidUsage(_("%(field)s takes at most 100 images."), field="input_images")
    return [_image(one, f"input_images[{place}]") for place, one in enumerate(told)]


def with_images(told: Mapping[str, Any], rule: ImageRule | None) -> dict[str, Any]:
    """An estimate without `input_images` and with their tokens, added to the input and to its image tokens.

    What has no images comes back as it is. A model without a rule refuses them: a guess would hold too little.
    """
    found = dict(told)
    images = found.pop("input_images", None)
    if images is None:
        return found
    counted = read_images(images)
    if not counted:
        return found
    if rule is None:
        raise InvalidUsage(
            _("%(field)s: how this model counts images is not known. Send input_image_tokens."), field="input_images"
        )
    tokens = sum(rule.count(image) for image in counted)
    for name in ("input_tokens", "input_image_tokens"):
        found[name] = _whole(found.get(name), name) + tokens
    return found


def counted(told: Mapping[str, Any], rule: ImageRule | None) -> list[dict[str, int]]:
    """Each of the `input_images` with its tokens; none where the model has no rule."""
    images = told.get("input_images")
    if images is None or rule is None:
        return []
    return [
        {"width": image.width, "height": image.height, "tokens": rule.count(image)} for image in read_images(images)
    ]


# --- counting --------------------------------------------------------------------------------------------------------


def _tiles(rule: ImageRule, width: int, height: int) -> int:
    assert rule.tile is not None and rule.tile_tokens is not None  # noqa: S101, PT018  # read_rule saw to it
    if rule.small is not None and max(width, height) <= rule.small:
        return rule.base_tokens + rule.tile_tokens
    w, h = _fitted(width, height, rule.fit)
    if rule.short_side is not None and min(w, h) > rule.short_side:
        by = Fraction(rule.short_side) / min(w, h)
        w, h = w * by, h * by
    return rule.base_tokens + _up(w / rule.tile) * _up(h / rule.tile) * rule.tile_tokens


def _area(rule: ImageRule, width: int, height: int) -> int:
    assert rule.pixels_per_token is not None  # noqa: S101  # read_rule saw to it
    w, h = _fitted(width, height, rule.longest_side)
    tokens = _up(w * h / rule.pixels_per_token)
    return tokens if rule.max_tokens is None else min(tokens, rule.max_tokens)


def _patches(rule: ImageRule, width: int, height: int) -> int:
    assert rule.patch is not None  # noqa: S101  # read_rule saw to it
    number = _up(Fraction(width, rule.patch)) * _up(Fraction(height, rule.patch))
    if rule.max_patches is not None and number > rule.max_patches:
        number = _shrunk(width, height, rule.max_patches)
    return int((number * rule.multiplier).to_integral_value(ROUND_CEILING))


def _shrunk(width: int, height: int, most: int) -> int:
    """Patches after shrinking to at most this many, so far that one side is a whole number of patches. A side of the
    area's exact fit has sqrt(most * width / height) patches; whole roots keep it exact."""
    across, down = isqrt(most * width // height), isqrt(most * height // width)
    if across * height <= down * width:
        down = _up(Fraction(across * height, width))
    else:
        across = _up(Fraction(down * width, height))
    return min(max(1, across) * max(1, down), most)


def _fixed(rule: ImageRule, width: int, height: int) -> int:
    assert rule.tokens is not None  # noqa: S101  # read_rule saw to it
    return rule.tokens


_COUNT: Final = {"tiles": _tiles, "area": _area, "patches": _patches, "fixed": _fixed}


def _fitted(width: int, height: int, side: int | None) -> tuple[Fraction, Fraction]:
    """Shrunk, never enlarged, into a square of this side."""
    by = min(Fraction(1), Fraction(side, max(width, height))) if side is not None else Fraction(1)
    return width * by, height * by


def _up(number: Fraction) -> int:
    return -int(-number // 1)


# --- reading ---------------------------------------------------------------------------------------------------------


def _multiplier(value: Any) -> Decimal:
    try:
        found = parse_decimal(value)
    except ValueError:
        raise InvalidPrice(_("%(field)s must be a decimal number."), field="multiplier") from None
    if not 0 < found <= 1000 or found != found.quantize(Decimal("0.000001")):
        raise InvalidPrice(_("%(field)s must be above 0 and at most 1000."), field="multiplier")
    return found


def _image(told: object, place: str) -> Image:
    if not isinstance(told, Mapping):
        raise InvalidUsage(_("%(field)s must be an object."), field=place)
    unknown = sorted(set(map(str, told)) - {"width", "height", "detail"})
    if unknown:
        raise InvalidUsage(_("%(field)s is not known of an image."), field=f"{place}.{unknown[0][:64]}")
    sides = []
    for name in ("width", "height"):
        value = told.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST:
            raise InvalidUsage(_("%(field)s must be a whole number of pixels."), field=f"{place}.{name}")
        sides.append(value)
    detail = told.get("detail")
    if detail is not None and detail not in DETAILS:
        raise InvalidUsage(_("%(field)s must be auto, low, high or original."), field=f"{place}.detail")
    return Image(sides[0], sides[1], low=detail == "low")


def _whole(value: Any, name: str) -> int:
    if value is None:
        return 0
    if (
        isinstance(value, bool)
        or not isinstance(value, int | str)
        or not str(value).isdecimal()
        or len(str(value)) > 16
    ):
        raise InvalidUsage(_("%(field)s must be a whole number that is not negative."), field=name)
    return int(value)
