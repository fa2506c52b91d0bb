"""The staff console's desks: read-only, and changed only through actions with a permission and a reason.

A desk names its columns, its facts and its look-ups. An action shows what will happen in words, asks for a reason,
runs one operation and says what it did; a refusal stays on the form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ClassVar
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.checks import ModelAdminChecks
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action as unfold_action
from unfold.enums import ActionVariant
from unfold.views import ChangeList
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from config.admin_cells import Panel, label_of, row_url, shown
from config.admin_finding import CappedPaginator, find

Fact = str | Callable[[Any], Any]


class Rows(ChangeList):
    """A list that knows when it is whole, without counting the table."""

    def get_results(self, request: HttpRequest) -> None:
        """As Django's; what no filter narrows is all there is."""
        super().get_results(request)
        if not self.query and not self.get_filters_params():
            self.full_result_count = self.result_count


class ReadOnlyAdmin(ModelAdmin):
    """A list and a page per row. Nothing is added, changed or deleted here but by actions."""

    related: ClassVar[tuple[str, ...]] = ()
    """Joined on the list and on the page: foreign keys that are shown."""
    facts: ClassVar[tuple[tuple[Any, tuple[Fact, ...]], ...]] = ()
    """What a row's page says, in groups; empty: every column."""
    hidden: ClassVar[tuple[str, ...]] = ("hash", "digest", "password", "client_key", "idempotency_key")
    """Never on a page: of no use to staff, or not for showing."""
    finds: ClassVar[tuple[tuple[str, str], ...]] = ()
    """(kind, look-up), tried in order until one has rows; kinds are in `config.admin_finding.READ`."""
    moment: ClassVar[str] = "created_at"
    ids_by_time: ClassVar[bool] = False
    account_order: ClassVar[tuple[str, ...]] = ()
    """The order of one account's rows, where an index serves that instead of the whole table's."""
    row_title: ClassVar[Any] = str
    """What a row is called at the head of its page."""
    by_hand: ClassVar[bool] = False
    """Rows come from staff, not by themselves; an empty list says so."""
    refusals: ClassVar[tuple[type[Exception], ...]] = (ValidationError,)
    """What an operation raises to refuse."""

    checks_class = ModelAdminChecks  # unfold's look into the database, which a fresh installation does not have yet
    actions = None
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # they count the whole table, once for every choice
    list_per_page = 50
    paginator = CappedPaginator
    sortable_by: ClassVar[tuple[str, ...]] = ()
    list_display_links: ClassVar[Any] = ()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.list_display_links = self.list_display[:1]  # type: ignore[misc]
        self.search_fields = ("pk",) if self.finds else ()  # only says that there is a search; `finds` does it

    # --- What nobody may do here
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only the permission to view opens a desk; one to change alone does not."""
        return request.user.has_perm(f"{self.opts.app_label}.view_{self.opts.model_name}")

    # --- Lists
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that offers to show all rows only where it does not."""
        return Rows

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows with what the list and the page show of others."""
        rows: QuerySet[Any] = self.model._default_manager.select_related(*self.related)
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    def get_ordering(self, request: HttpRequest) -> Any:
        """One account's rows in an order of their own, where the table has an index for it."""
        if self.account_order and "account__id__exact" in request.GET:
            return self.account_order
        return super().get_ordering(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Exact look-ups through indexes; no text search."""
        term = search_term.strip()
        return (find(queryset, term, self.finds) if term else queryset), False

    # --- A row's page
    def panels(self, request: HttpRequest, obj: Any) -> list[Panel]:
        """Tables beside the facts."""
        return []

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Facts and tables; there is no form."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        obj = self._row(request, object_id)
        if isinstance(obj, HttpResponse):
            return obj
        actions = [
            one for one in self.get_actions_detail(request, object_id) if getattr(one.method, "applies", _always)(obj)
        ]
        request.row_title = type(self).row_title(obj)  # type: ignore[attr-defined]  # for the head of the page
        context = {
            **self.admin_site.each_context(request),
            "title": request.row_title,  # type: ignore[attr-defined]
            "opts": self.opts,
            "original": obj,
            "has_view_permission": True,
            "groups": self._groups(obj),
            "panels": self.panels(request, obj),
            "actions_detail": self._get_actions_navigation(self.actions_detail, actions, object_id),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/desk_row.html", context)

    def _row(self, request: HttpRequest, object_id: str) -> Any:
        """The row, or the answer that says there is none. What may not be seen is refused before it is looked for."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        obj = self.get_object(request, object_id.replace("_2D", "-"))
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id) if obj is None else obj

    def _groups(self, obj: Any) -> list[tuple[Any, list[tuple[Any, Any]]]]:
        facts = self.facts or ((None, self._columns()),)
        return [(title, [self._fact(obj, name) for name in names]) for title, names in facts]

    def _columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.opts.concrete_fields if field.name not in self.hidden)

    def _fact(self, obj: Any, name: Fact) -> tuple[Any, Any]:
        if callable(name):
            return getattr(name, "short_description", ""), name(obj)
        field = self.opts.get_field(name)
        return label_of(field) if isinstance(field, Field) else name, shown(obj, name)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The audit is the history."""
        return HttpResponseRedirect(
            f"{reverse('admin:accounts_auditrecord_changelist')}"
            f"?subject_type={self.opts.model_name}&subject_id={object_id}"
        )


def _always(_obj: Any) -> bool:
    return True


# --- Actions ------------------------------------------------------------------------------------------------------
class ReasonForm(forms.Form):
    """What every action asks. The token names this opening of the form, so that sending it twice acts once."""

    token = forms.CharField(widget=forms.HiddenInput, max_length=64, required=False)
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        help_text=_("Kept in the audit, with your name."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )

    def __init__(self, *arguments: Any, obj: Any = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.obj = obj
        self.fields["token"].initial = uuid4().hex
        self.order_fields([name for name in self.fields if name != "reason"] + ["reason"])
        for field in self.fields.values():
            _dress(field)

    def clean_token(self) -> str:
        """Ours, or a new one."""
        token = self.cleaned_data["token"]
        return token if re.fullmatch(r"[0-9a-f]{32}", token) else uuid4().hex


def _dress(field: forms.Field) -> None:
    """The console's widgets for plain form fields."""
    dress: tuple[tuple[type[forms.Field], Any], ...] = (
        (forms.DecimalField, UnfoldAdminDecimalFieldWidget),
        (forms.IntegerField, UnfoldAdminTextInputWidget),
        (forms.DateField, partial(UnfoldAdminTextInputWidget, attrs={"type": "date"})),
        (forms.BooleanField, UnfoldBooleanSwitchWidget),
    )
    if isinstance(field, forms.ChoiceField):
        field.widget = UnfoldAdminSelectWidget(choices=field.choices)
        return
    if isinstance(field, forms.DateTimeField):
        field.widget = UnfoldAdminTextInputWidget(attrs={"type": "datetime-local", "step": "60"})
        return
    if isinstance(field.widget, forms.HiddenInput | UnfoldAdminTextareaWidget):
        return
    for kind, widget in dress:
        if isinstance(field, kind):
            field.widget = widget()
            return
    if type(field) is forms.CharField:
        field.widget = UnfoldAdminTextInputWidget()


def staff_action(
    *,
    permission: str,
    title: Any,
    sentence: Any,
    button: Any = "",
    form: type[ReasonForm] = ReasonForm,
    icon: str = "",
    danger: bool = False,
    applies: Callable[[Any], bool] | None = None,
    guard: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """Make `act(self, request, obj, data)` an action with a page that asks first.

    `obj` is None for an action of the list. `act` returns the sentence that says what was done, or a response of its
    own. `guard` wraps the view, for instance to ask for the password again.
    """

    def decorate(act: Callable[..., Any]) -> Any:
        if act.__name__ in ("add", "change", "delete", "history"):
            raise ValueError(f"an action named {act.__name__} would hide the page of that name")

        @unfold_action(
            permissions=[permission],
            description=title,
            url_path=act.__name__.replace("_", "-"),
            icon=icon or None,
            variant=ActionVariant.DANGER if danger else ActionVariant.PRIMARY,
        )
        @wraps(act)
        def view(self: ReadOnlyAdmin, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
            def ask(request: HttpRequest) -> HttpResponse:
                obj = self._row(request, object_id) if object_id is not None else None
                if isinstance(obj, HttpResponse):
                    return obj
                if applies is not None and not applies(obj):
                    messages.info(request, _("That is not possible in its present state."))
                    return HttpResponseRedirect(row_url(obj))
                sent = (request.POST, request.FILES) if request.method == "POST" else (None, None)
                asked = form(*sent, obj=obj, **({} if sent[0] else _prefilled(form, request, obj)))
                if request.method == "POST" and asked.is_valid():
                    answer = _attempt(self, act, request, obj, asked)
                    if answer is not None:
                        return answer
                return _form_page(self, request, obj, asked, title, sentence, button or title, danger)

            return (guard(ask) if guard else ask)(request)

        if applies is not None:
            view.applies = applies
        return view

    return decorate


def at_stake(what: Callable[[Any], str], then: Any) -> Callable[[Any], str]:
    """A sentence for `staff_action` that first says what this row is about: whose it is and how much."""
    return lambda obj: sentences(what(obj), then)


def sentences(first: Any, second: Any) -> str:
    """One after the other; Chinese ones stand without a space."""
    return f"{first}{second}" if str(first).endswith("。") else f"{first} {second}"


def _prefilled(form: type[ReasonForm], request: HttpRequest, obj: Any) -> dict[str, Any]:
    """What a form knows before it is filled in: from the row, or from the link that led here."""
    prefill = getattr(form, "prefill", None)
    return {"initial": prefill(obj, request.GET)} if prefill else {}


def _attempt(
    desk: ReadOnlyAdmin, act: Callable[..., Any], request: HttpRequest, obj: Any, asked: ReasonForm
) -> HttpResponse | None:
    """Run the operation; None when it was refused, with the refusal on the form."""
    try:
        done = act(desk, request, obj, asked.cleaned_data)
    except desk.refusals as refusal:
        asked.add_error(None, refusal.messages if isinstance(refusal, ValidationError) else str(refusal))
        return None
    if isinstance(done, HttpResponseBase):  # also one that is streamed
        return done  # type: ignore[return-value]
    messages.success(request, done)
    return HttpResponseRedirect(row_url(obj) if isinstance(obj, Model) else request.path.rsplit("/", 2)[0] + "/")


def _form_page(
    desk: ReadOnlyAdmin,
    request: HttpRequest,
    obj: Any,
    asked: ReasonForm,
    title: Any,
    sentence: Any,
    button: Any,
    danger: bool,
) -> HttpResponse:
    if obj is not None:
        request.row_title = type(desk).row_title(obj)  # type: ignore[attr-defined]  # for the head of the page
    context = {
        **desk.admin_site.each_context(request),
        "title": title,
        "opts": desk.opts,
        "original": obj,
        "subject": type(desk).row_title(obj) if obj is not None else "",
        "sentence": sentence(obj) if callable(sentence) else sentence,
        "button": button,
        "danger": danger,
        "form": asked,
        "back": row_url(obj) if obj is not None else request.path.rsplit("/", 2)[0] + "/",
    }
    request.current_app = desk.admin_site.name
    return TemplateResponse(request, "admin/desk_action.html", context, status=422 if asked.errors else 200)
