from django.urls import path

from billing.books import api as books
from billing.books import api_statements as statements
from billing.catalog import api as catalog
from billing.catalog import flow_api
from billing.metering import api as metering

urlpatterns = [
    path("balance", books.BalanceView.as_view(), name="api-balance"),
    path("transactions", books.Transactions.as_view(), name="api-transactions"),
    path("statements", statements.Statements.as_view(), name="api-statements"),
    path("statements/<str:month>", statements.StatementDetail.as_view(), name="api-statement"),
    path("usage", metering.UsageList.as_view(), name="api-usage"),
    path("usage/summary", metering.UsageSummary.as_view(), name="api-usage-summary"),
    path("usage/<uuid:record_id>", metering.UsageDetail.as_view(), name="api-usage-record"),
    path("models", catalog.Models.as_view(), name="api-models"),
    path("flow-rate", flow_api.FlowRate.as_view(), name="api-flow-rate"),
    path("quotes", catalog.Quotes.as_view(), name="api-quotes"),
]
