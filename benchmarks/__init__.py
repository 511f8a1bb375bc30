"""Measurements. They compare within one run, and are never asserted in tests."""
