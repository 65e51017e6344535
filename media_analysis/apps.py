from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MediaAnalysisConfig(AppConfig):
    name = "media_analysis"
    verbose_name = _("Media and analyses")
