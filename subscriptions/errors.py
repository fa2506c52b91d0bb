"""Refusals of subscriptions, each with a code that never changes."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from billing.errors import Conflict


class FlowClassWithoutRate(Conflict):
    """Nothing says what a Flow is worth to this class."""

    code = "flow_class_without_rate"
    title = _("No Flow rate is in force for this class. Publish one first.")


class FlowClassUnchanged(Conflict):
    """The account is of this class already."""

    code = "flow_class_unchanged"
    title = _("The account is of this Flow class already.")


class WindowNotResettable(Conflict):
    """This window cannot be ended now; the sentence says why."""

    code = "window_not_resettable"
    title = _("This quota window cannot be reset.")
