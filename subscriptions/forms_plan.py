"""What the pages about a plan send."""

from django import forms


class ConfirmForm(forms.Form):
    """A preview that is confirmed: the plan, the moment that the preview was of, and what it said is due."""

    plan = forms.CharField(max_length=8)
    at = forms.DateTimeField()
    due_usd = forms.DecimalField(max_digits=24, decimal_places=10)
    token = forms.CharField(min_length=8, max_length=64)


class TokenForm(forms.Form):
    """A button that names its intent."""

    token = forms.CharField(min_length=8, max_length=64)
