"""What a function is: where its code lies, how it is called, what it may use."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ACCOUNT", "REGION", "Function"]

REGION, ACCOUNT = "eu-central-1", "123456789012"
# Nothing listens on port 1, so that a call fails at once.
NOWHERE = "http://127.0.0.1:1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function, built for this machine.

    `task` is what lies in /var/task on Lambda, `layers` in /opt, in order; `runtime` is a folder with awslambdaric and boto3.
    """

    name: str
    handler: str
    task: Path
    runtime: Path
    layers: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    timeout_s: float = 3.0
    memory_mb: int = 128
    concurrency: int = 10
    python: str = sys.executable

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"

    def variables(self, runtime_api: str) -> dict[str, str]:
        """Return the environment of its processes: Lambda's own and the function's, and nothing of ours.

        There is no HOME on Lambda either. Nothing of AWS is reached, unless AWS_ENDPOINT_URL in the function's environment says where.
        """
        folders = [self.task, *(layer / "python" for layer in self.layers), self.runtime]
        own = {name: self._in_layer(value) for name, value in self.environment.items()}
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": ":".join(str(folder.absolute()) for folder in folders),
            "PYTHONDONTWRITEBYTECODE": "1",  # Lambda's file system is read-only
            "AWS_ACCESS_KEY_ID": "stand-in",
            "AWS_SECRET_ACCESS_KEY": "stand-in",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": NOWHERE,
            "AWS_EC2_METADATA_DISABLED": "true",
            **own,
            "_HANDLER": self.handler,
            "LAMBDA_TASK_ROOT": str(self.task.absolute()),
            "LAMBDA_RUNTIME_DIR": str(self.runtime.absolute()),
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
            "AWS_REGION": REGION,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python{}.{}".format(*sys.version_info),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "stand-in",
        }

    def _in_layer(self, value: str) -> str:
        """Return where a file of /opt lies: a setting such as MQBRIDGE_RULES=/opt/rules.json names one."""
        if value.startswith("/opt/"):
            for layer in reversed(self.layers):  # of two that have it, the later one's is in /opt
                if (layer / value.removeprefix("/opt/")).exists():
                    return str((layer / value.removeprefix("/opt/")).absolute())
        return value
