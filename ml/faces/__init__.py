"""Finding faces, cutting them out and following people."""
