"""What benchmarks run inside a site's own environment, with its settings and its database: `python -m` in its process.

Whoever starts one gives it DJANGO_SETTINGS_MODULE and the site's variables, as :class:`tests.site_process.SiteProcess`
does.
"""

import django

django.setup()
