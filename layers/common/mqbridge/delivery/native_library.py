"""librocketmq's C functions, through the package rocketmq-client-python (`mqbridge[native]`).

The package's own classes are not used: they cut bodies at a NUL byte, and never free a message. Its `rocketmq.ffi` finds and loads the
library; the functions are declared here, from librocketmq's CProducer.h, CMessage.h, CCommon.h and CSendResult.h (2.0 to 2.2).
"""

import ctypes
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol, cast

__all__ = ["Library", "NativeClientMissing", "QueueSelector", "SendResult", "load_library", "writable_home"]

_INSTALL = "Client: native needs mqbridge[native] (rocketmq-client-python) and librocketmq 2.x, which no package registry ships"

_TEXT, _HANDLE, _INT = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int
# int (*QueueSelectorCallback)(int size, CMessage *message, void *argument): which of the topic's queues.
QueueSelector = ctypes.CFUNCTYPE(_INT, _INT, _HANDLE, _HANDLE)


class SendResult(ctypes.Structure):
    """CSendResult."""

    _fields_: ClassVar = [("sendStatus", _INT), ("msgId", ctypes.c_char * 256), ("offset", ctypes.c_longlong)]


class NativeClientMissing(Exception):
    """The package or the library is not installed, or not of a version that will do."""


class Library(Protocol):
    """What of librocketmq a producer needs. Functions that return int return a CStatus, 0 for success."""

    def CreateProducer(self, group: bytes, /) -> int | None: ...
    def DestroyProducer(self, producer: int, /) -> int: ...
    def StartProducer(self, producer: int, /) -> int: ...
    def ShutdownProducer(self, producer: int, /) -> int: ...
    def SetProducerNameServerAddress(self, producer: int, addresses: bytes, /) -> int: ...
    def SetProducerInstanceName(self, producer: int, name: bytes, /) -> int: ...
    def SetProducerSessionCredentials(
        self, producer: int, access_key: bytes, secret_key: bytes, channel: bytes, /
    ) -> int: ...
    def SetProducerLogFileNumAndSize(self, producer: int, files: int, megabytes: int, /) -> int: ...
    def SetProducerLogLevel(self, producer: int, level: int, /) -> int: ...
    def SetProducerSendMsgTimeout(self, producer: int, milliseconds: int, /) -> int: ...
    def SetProducerMaxMessageSize(self, producer: int, size: int, /) -> int: ...
    def CreateMessage(self, topic: bytes, /) -> int | None: ...
    def DestroyMessage(self, message: int, /) -> int: ...
    def SetMessageTags(self, message: int, tags: bytes, /) -> int: ...
    def SetMessageKeys(self, message: int, keys: bytes, /) -> int: ...
    def SetMessageProperty(self, message: int, name: bytes, value: bytes, /) -> int: ...
    def SetByteMessageBody(self, message: int, body: bytes, length: int, /) -> int: ...
    def SetDelayTimeLevel(self, message: int, level: int, /) -> int: ...
    def SendMessageOrderly(
        self, producer: int, message: int, selector: Any, argument: int, retries: int, result: SendResult, /
    ) -> int: ...
    def GetLatestErrorMessage(self) -> bytes | None: ...


_Signature = tuple[Any, tuple[Any, ...]]
_SIGNATURES: dict[str, _Signature] = {
    "CreateProducer": (_HANDLE, (_TEXT,)),
    "DestroyProducer": (_INT, (_HANDLE,)),
    "StartProducer": (_INT, (_HANDLE,)),
    "ShutdownProducer": (_INT, (_HANDLE,)),
    "SetProducerNameServerAddress": (_INT, (_HANDLE, _TEXT)),
    "SetProducerInstanceName": (_INT, (_HANDLE, _TEXT)),
    "SetProducerSessionCredentials": (_INT, (_HANDLE, _TEXT, _TEXT, _TEXT)),
    "SetProducerLogFileNumAndSize": (_INT, (_HANDLE, _INT, ctypes.c_long)),
    "SetProducerLogLevel": (_INT, (_HANDLE, _INT)),
    "SetProducerSendMsgTimeout": (_INT, (_HANDLE, _INT)),
    "SetProducerMaxMessageSize": (_INT, (_HANDLE, _INT)),
    "CreateMessage": (_HANDLE, (_TEXT,)),
    "DestroyMessage": (_INT, (_HANDLE,)),
    "SetMessageTags": (_INT, (_HANDLE, _TEXT)),
    "SetMessageKeys": (_INT, (_HANDLE, _TEXT)),
    "SetMessageProperty": (_INT, (_HANDLE, _TEXT, _TEXT)),
    "SetByteMessageBody": (_INT, (_HANDLE, _TEXT, _INT)),
    "SetDelayTimeLevel": (_INT, (_HANDLE, _INT)),
    "SendMessageOrderly": (_INT, (_HANDLE, _HANDLE, QueueSelector, _HANDLE, _INT, ctypes.POINTER(SendResult))),
    "GetLatestErrorMessage": (_TEXT, ()),
}


def load_library(import_module: Callable[[str], Any] = importlib.import_module) -> Library:
    """Load librocketmq and return its functions.

    Raises:
        NativeClientMissing: what is missing, and what to install.
    """
    try:
        dll = import_module("rocketmq.ffi").dll
    # The package or the library is not there; the library lacks a symbol that the package names; it cannot be loaded; this is Windows.
    except (ImportError, AttributeError, OSError, NotImplementedError) as error:
        raise NativeClientMissing(f"{_INSTALL}: {error}") from error
    functions: dict[str, Any] = {}
    for name, (result_type, argument_types) in _SIGNATURES.items():
        try:
            function = dll[name]  # not dll.NAME: that object is the package's, and has the package's types
        except AttributeError as error:
            raise NativeClientMissing(f"{_INSTALL}: the library has no function {name}") from error
        function.restype, function.argtypes = result_type, argument_types
        functions[name] = function
    return cast(
        Library, SimpleNamespace(**functions)
    )  # the functions of _SIGNATURES are the protocol's; a test compares


def _is_writable(folder: str) -> bool:
    return os.access(folder, os.W_OK)


@contextmanager
def writable_home(is_writable: Callable[[str], bool] = _is_writable) -> Iterator[None]:
    """Let HOME name a folder that can be written in while the library opens its log files.

    It makes $HOME/logs/rocketmq-cpp when the first producer is created, and a function's own home is read-only.
    """
    if is_writable(os.path.expanduser("~")):
        yield
        return
    before = os.environ.get("HOME")
    os.environ["HOME"] = tempfile.gettempdir()
    try:
        yield
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before
