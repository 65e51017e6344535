"""Shows a finished analysis. Computes no score."""
