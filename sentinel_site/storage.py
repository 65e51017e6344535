from __future__ import annotations

from typing import Any

from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Static files under names that change with their content, each beside a gzip copy.

    Modules import one another by these names too: browsers keep them for years without asking.

    Brotli, which a package of the reports brings along, would make the largest files a sixth smaller and the first
    start of a site four times as long.
    """

    support_js_module_import_aggregation = True

    def create_compressor(self, **options: Any) -> Compressor:
        return Compressor(**options, use_brotli=False)
