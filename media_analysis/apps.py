from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MediaAnalysisConfig(AppConfig):
    name = "media_analysis"
    verbose_name = _("Media and analyses")

    def ready(self) -> None:
        # Models exist only from here on.
        from media_analysis import checks, notifications, signals  # noqa: F401 -- checks register themselves

        signals.analysis_finished.connect(
            notifications.on_analysis_finished, dispatch_uid="media_analysis.notifications"
        )
