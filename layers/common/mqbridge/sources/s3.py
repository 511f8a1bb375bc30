"""Rules in a bucket: fetched when they are not what was fetched last."""

from typing import Any

from .aws import cannot_ask, client_of, content_of, error_code
from .places import S3Object

__all__ = ["S3"]

_NOT_MODIFIED = {"304", "NotModified"}  # botocore makes an error of it, named after the status since it has no body


class S3:
    """Fetches one object.

    Raises:
        CannotRead: there is no client for it.
    """

    def __init__(self, place: S3Object) -> None:
        self._place = place
        self._client = client_of("s3")
        self._etag = ""

    def fetch(self) -> bytes | None:
        """Return the object's content, at most a byte more than a document may have; None if it has not changed.

        Raises:
            CannotRead: it cannot be had.
        """
        condition: dict[str, Any] = {"IfNoneMatch": self._etag} if self._etag else {}
        try:
            answer = self._client.get_object(Bucket=self._place.bucket, Key=self._place.key, **condition)
            content = content_of(answer, "Body")
        except Exception as error:
            if error_code(error) in _NOT_MODIFIED:
                return None
            raise cannot_ask(error) from None
        self._etag = answer["ETag"]
        return content
