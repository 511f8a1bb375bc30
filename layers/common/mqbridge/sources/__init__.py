"""Where rules come from: a file, the environment, Parameter Store, AppConfig or S3; looked at again while they are in force."""

from .refreshing import RefreshedRules

__all__ = ["RefreshedRules"]
