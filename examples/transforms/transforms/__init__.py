"""Functions that the tasks of this deployment call, as `python:transforms.MODULE:FUNCTION`."""
