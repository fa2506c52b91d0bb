"""A desk of billing: what its operations refuse is said on the form."""

from typing import ClassVar

from django.core.exceptions import ValidationError

from billing.errors import BillingError
from config.admin_base import ReadOnlyAdmin


class BillingDesk(ReadOnlyAdmin):
    """A read-only desk whose actions call operations that refuse with a `BillingError`."""

    refusals: ClassVar[tuple[type[Exception], ...]] = (BillingError, ValidationError)
