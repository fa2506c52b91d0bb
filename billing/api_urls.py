from django.urls import path

from billing.books import api as books
from billing.books import api_statements as statements
from billing.books import voucher_api
from billing.catalog import api as catalog
from billing.catalog import flow_api
from billing.metering import alert_api
from billing.metering import api as metering

urlpatterns = [
    path("balance", books.BalanceView.as_view(), name="api-balance"),
    path("transactions", books.Transactions.as_view(), name="api-transactions"),
    path("vouchers", voucher_api.Vouchers.as_view(), name="api-vouchers"),
    path("vouchers/redeem", voucher_api.Redeem.as_view(), name="api-vouchers-redeem"),
    path("statements", statements.Statements.as_view(), name="api-statements"),
    path("statements/<str:month>", statements.StatementDetail.as_view(), name="api-statement"),
    path("usage", metering.UsageList.as_view(), name="api-usage"),
    path("usage/summary", metering.UsageSummary.as_view(), name="api-usage-summary"),
    path("usage/<uuid:record_id>", metering.UsageDetail.as_view(), name="api-usage-record"),
    path("alerts", alert_api.Alerts.as_view(), name="api-alerts"),
    path("alerts/<uuid:alert_id>", alert_api.AlertDetail.as_view(), name="api-alert"),
    path("models", catalog.Models.as_view(), name="api-models"),
    path("flow-rate", flow_api.FlowRate.as_view(), name="api-flow-rate"),
    path("quotes", catalog.Quotes.as_view(), name="api-quotes"),
]
