from django.urls import path

from sandbox import api, views, views_control, views_disputes, views_portal, views_setup, views_subscriptions

app_name = "sandbox"
urlpatterns = [
    path("v1/<path:path>", api.serve, name="api"),
    path("checkout/<str:session_id>", views.checkout_page, name="checkout"),
    path("checkout/<str:session_id>/card", views.pay_by_card, name="pay_by_card"),
    path("checkout/<str:session_id>/wallet", views.pay_by_wallet, name="pay_by_wallet"),
    path("checkout/<str:session_id>/3ds", views.three_d_secure, name="three_d_secure"),
    path("checkout/<str:session_id>/alipay", views.alipay, name="alipay"),
    path("checkout/<str:session_id>/wechat-pay", views.wechat_pay, name="wechat_pay"),
    path("checkout/<str:session_id>/qr.svg", views.qr_picture, name="qr_picture"),
    path("checkout/<str:session_id>/setup", views_setup.save_card, name="save_card"),
    path("checkout/<str:session_id>/expire", views.expire, name="expire"),
    path("portal/<str:session_id>", views_portal.portal, name="portal"),
    path("portal/<str:session_id>/default", views_portal.set_default, name="portal_default"),
    path("portal/<str:session_id>/card", views_portal.add_card, name="portal_card"),
    path("invoices/<str:invoice_id>", views_portal.invoice, name="invoice"),
    path("invoices/<str:invoice_id>/pay", views_portal.pay_invoice, name="pay_invoice"),
    path("invoices/<str:invoice_id>/pdf", views_portal.invoice_pdf, name="invoice_pdf"),
    path("control", views_control.control_page, name="control"),
    path("control/switches", views_control.switches_api, name="switches_api"),
    path("control/faults", views_control.faults_api, name="faults_api"),
    path("control/set", views_control.set_switches, name="set_switches"),
    path("control/release", views_control.release, name="release"),
    path("control/clock", views_control.set_clock, name="set_clock"),
    path("control/events/<str:event_id>", views_control.event_page, name="event"),
    path("control/events/<str:event_id>/send", views_control.send_again, name="send_again"),
    path("control/refund/<str:payment_intent>", views_control.refund_in_dashboard, name="refund_in_dashboard"),
    path("control/disputes", views_disputes.act_api, name="disputes_api"),
    path("control/disputes/<str:object_id>", views_disputes.act, name="dispute"),
    path("control/subscriptions", views_subscriptions.act_api, name="subscriptions_api"),
    path("control/subscriptions/<str:object_id>", views_subscriptions.act, name="subscription"),
    path("control/settle/<str:object_id>", views_control.settle, name="settle"),
]
