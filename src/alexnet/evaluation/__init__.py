"""Exact error rates, ten views, ensembles, prediction and the report. Knows no training."""
