"""Faults under load, on real brokers: `python -m tests.chaos.run`, and three short ones in tests/integration/test_chaos.py."""
