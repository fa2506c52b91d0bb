from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("", views.profile, name="profile"),
    path("security", views.security, name="security"),
    path("members", views.members, name="members"),
    path("switch", views.switch, name="switch"),
    path("language", views.language, name="language"),
]
