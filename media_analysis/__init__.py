"""The domain: media, submissions, analyses, and everything that happens to them."""
