"""The runner: what an event source mapping is in the cloud, on one machine, fed by real brokers."""
