"""Translate a SAM template to CloudFormation: `translate.py TEMPLATE RESULT`. Run by .venv-sam's Python.

`sam validate --lint` does not look inside the events of functions; a lint of what they become does.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse  # type: ignore[import-not-found]  # is in .venv-sam only
from samtranslator.internal.managed_policies import (  # type: ignore[import-not-found]  # likewise
    get_bundled_managed_policy_map,
)
from samtranslator.translator.transform import transform  # type: ignore[import-not-found]  # likewise

CODE_KEYS = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


class _ManagedPolicies:
    """The translator's port to IAM, answered from what it brings along."""

    def load(self) -> Any:
        return get_bundled_managed_policy_map("aws")


def main(template_path: Path, result_path: Path) -> None:
    """Write the CloudFormation template as JSON."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    template = yaml_parse(template_path.read_text(encoding="utf-8"))
    for resource in template["Resources"].values():
        if resource["Type"] in CODE_KEYS:
            resource["Properties"][CODE_KEYS[resource["Type"]]] = (
                "s3://example-bucket/code.zip"  # as `sam package` does
            )
            resource.pop("Metadata", None)
    result_path.write_text(json.dumps(transform(template, {}, _ManagedPolicies()), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
