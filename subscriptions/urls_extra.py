from django.urls import path

from subscriptions import api_conversations, api_extra, views_extra

app_name = "extra"
urlpatterns = [
    path("platform/subscription/extra-usage", views_extra.page, name="page"),
    path("platform/subscription/extra-usage/key", views_extra.select, name="select"),
    path("platform/subscription/extra-usage/new-key", views_extra.new_key, name="new_key"),
    path("platform/subscription/extra-usage/cap", views_extra.set_cap, name="cap"),
    path("platform/subscription/extra-usage/off", views_extra.turn_off, name="off"),
    path("api/v1/subscription/extra-usage", api_extra.ExtraUsageView.as_view(), name="api-extra-usage"),
    path(
        "api/v1/conversations/<path:conversation>/billing-mode",
        api_conversations.ConversationMode.as_view(),
        name="api-conversation-mode",
    ),
]
