"""Other projects' cases, from a folder outside this project: make conformance CONFORMANCE=DIR."""
