"""Django's admin with our site in place of its own."""

from django.contrib.admin.apps import AdminConfig


class StaffAdminConfig(AdminConfig):
    """Every desk registers with `config.admin_site.StaffSite`."""

    default_site = "config.admin_site.StaffSite"
