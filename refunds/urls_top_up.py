from django.urls import path

from refunds import views_top_up

app_name = "refunds_top_up"
urlpatterns = [
    path("billing/top-up/<slug:number>/refund", views_top_up.ask, name="ask"),
    path("billing/refunds/<uuid:top_up_refund_id>/confirm", views_top_up.confirm, name="confirm"),
]
