"""Detectors: networks that give a face a fake probability, each with its preprocessing, thresholds and weights."""
