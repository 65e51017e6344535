from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReportsConfig(AppConfig):
    name = "reports"
    verbose_name = _("Reports")

    def ready(self) -> None:
        # A key that cannot sign stops the start, not the first report.
        from reports import seal

        seal.require_settings()
