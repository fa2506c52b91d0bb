from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Staff roles name the models of every app, so they are planted after the last one's migrations."""
        from accounts import roles

        *_others, last = (app for app in apps.get_app_configs() if app.models_module is not None)
        post_migrate.connect(roles.plant, sender=last, dispatch_uid="accounts.roles")
