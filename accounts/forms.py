"""What a user may change about themselves."""

import zoneinfo
from functools import lru_cache
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts.models import User


@lru_cache(maxsize=1)
def time_zones() -> list[tuple[str, Any]]:
    """Every zone by region, with UTC first."""
    regions: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(zoneinfo.available_timezones()):
        region, _slash, city = name.partition("/")
        if city and region not in ("Etc", "SystemV", "US", "posix", "right"):
            regions.setdefault(region, []).append((name, city.replace("_", " ").replace("/", " / ")))
    return [("UTC", "UTC"), *regions.items()]


class ProfileForm(forms.ModelForm):
    """Name, language and time zone. The e-mail address has its own page, because it must be verified."""

    locale = forms.ChoiceField(label=_("Language"), choices=settings.LANGUAGES)
    time_zone = forms.ChoiceField(
        label=_("Time zone"), choices=time_zones, help_text=_("All times in the portal are shown in this zone.")
    )

    class Meta:
        model = User
        fields = ("nickname", "locale", "time_zone")
        labels: ClassVar[dict[str, Any]] = {"nickname": _("Nickname")}
        help_texts: ClassVar[dict[str, Any]] = {
            "nickname": _("Support may ask for it to find your account, together with your e-mail address.")
        }
