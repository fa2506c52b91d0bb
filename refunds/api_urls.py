from django.urls import path

from refunds import api, api_asking

urlpatterns = [
    path("refunds", api_asking.Refunds.as_view(), name="api-refunds"),
    path("refunds/preview", api_asking.RefundPreview.as_view(), name="api-refund-preview"),
    path("refunds/<uuid:refund_id>", api.RefundDetail.as_view(), name="api-refund"),
    path("refunds/<uuid:refund_id>/cancel", api_asking.RefundCancel.as_view(), name="api-refund-cancel"),
]
