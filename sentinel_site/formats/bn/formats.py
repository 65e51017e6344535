"""As in English: one way to write dates and times on the whole site."""

from sentinel_site.formats.en.formats import *  # noqa: F403
