"""What the preview of a plan's refund sends back."""

from django import forms


class SubmitForm(forms.Form):
    """A quote that is agreed to. `token` names the intent: sent twice it is one refund."""

    quote = forms.CharField(max_length=4000)
    token = forms.CharField(min_length=8, max_length=64)
    reason = forms.CharField(max_length=500, required=False)
