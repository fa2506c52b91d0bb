"""WSGI entry. The lane is an ASGI app, so a WSGI server serves portal and admin only."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()
