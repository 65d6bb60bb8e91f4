"""Measurement: interleaved, against named peers, with the spread."""
