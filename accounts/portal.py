"""What pages that act for an account ask first: which one, may the person, and does the page still mean it."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from accounts.access import current_account, may, role_in
from accounts.models import Account, User


def account_in_force(request: HttpRequest) -> Account:
    """The account that the header shows. Raises Http404 when there is none."""
    account = current_account(request)
    if account is None:
        raise Http404
    return account


def payer(request: HttpRequest) -> tuple[Account, User]:
    """The account in force and the person, if the role may pay. Raises PermissionDenied."""
    account = account_in_force(request)
    if not may(role_in(request.user, account), "pay") or not isinstance(request.user, User):
        raise PermissionDenied(_("Your role in this account does not allow this."))
    return account, request.user


def named_here(request: HttpRequest, account: Account) -> bool:
    """The page named an account; another one may have been put in force in another tab meanwhile (F003)."""
    if request.POST.get("account") == str(account.pk):
        return True
    messages.warning(request, _("The account in force has changed. Check which account you want to set up."))
    return False
