"""Who may tell the runner what to do: somebody on this machine, and no web page that a browser on this machine shows. Pure.

A page may have a browser send a POST to 127.0.0.1, but not with a header of its own unless the server agrees beforehand (CORS), which
this one never does. A page whose name was made to lead to 127.0.0.1 (DNS rebinding) may, but then Host says that name.
"""

import ipaddress
import re

__all__ = ["CONTROL_HEADER", "CONTROL_VALUE", "refusal"]

CONTROL_HEADER, CONTROL_VALUE = "Mqbridge-Control", "task"

_HOST = re.compile(r"(\[(?P<bracketed>[^\]]+)\]|(?P<plain>[^:\[\]]+))(:[0-9]+)?")


def refusal(*, peer: str, host: str | None, control: str | None) -> str | None:
    """Return why a command is refused, or None if it may be carried out.

    Args:
        peer: the address that it comes from.
        host: the header Host.
        control: the header Mqbridge-Control.
    """
    if not _is_loopback(peer):
        return "commands are taken from this machine only"
    if host is None or not _is_local_name(host):
        return "commands are taken under a loopback name only, such as 127.0.0.1 or localhost"
    if control != CONTROL_VALUE:
        return f"expected the header {CONTROL_HEADER}: {CONTROL_VALUE}"
    return None


def _is_local_name(host: str) -> bool:
    found = _HOST.fullmatch(host)
    name = (found["bracketed"] or found["plain"]) if found else ""
    return name.lower() == "localhost" or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)  # an IPv4 peer of a socket that listens on IPv6
    return bool((mapped or found).is_loopback)
