from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReportsConfig(AppConfig):
    name = "reports"
    verbose_name = _("Reports")

    def ready(self) -> None:
        # A key that cannot sign stops the start, not the first report.
        from media_analysis import signals
        from reports import ahead, case_documents, case_maker, checks, seal  # noqa: F401 -- some register themselves

        seal.require_settings()
        signals.worker_starts.connect(ahead.start, dispatch_uid="reports.ahead")
        signals.worker_starts.connect(case_maker.start, dispatch_uid="reports.case_maker")
        signals.worker_starts.connect(seal.take_over_folder, dispatch_uid="reports.seal")
