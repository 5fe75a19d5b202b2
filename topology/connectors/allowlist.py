"""Which hosts may connect when there is no shared key. Pure.

Entries as in Sling's topologyConnectorWhitelist: plain host or address, pattern with * and ?, subnet as CIDR or as
address and mask. Two things differ from Sling, on purpose: a subnet has all its addresses, the first and the last
included, and IPv6 works.
"""

import ipaddress
import re
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def accepts(entries: Iterable[str], *, address: str, host: str = "") -> bool:
    """Tell if a caller may connect. A subnet is compared with the address, anything else with address and host name."""
    names = {name for name in (_plain(address), host) if name}
    return any(_accepts(entry.strip(), address, names) for entry in entries)


def needs_host(entries: Iterable[str]) -> bool:
    """Tell if any entry names hosts, so that it is worth asking who an address is."""
    return any(_is_pattern(entry) or not (_is_subnet(entry) or _address(entry)) for entry in entries)


def malformed(entries: Iterable[str]) -> list[str]:
    """Return the entries that look like a subnet and are none; they let nobody in."""
    return [entry for entry in entries if _is_subnet(entry) and _network(entry) is None]


def _accepts(entry: str, address: str, names: set[str]) -> bool:
    if not entry:
        return False
    if _is_subnet(entry):
        network, caller = _network(entry), _address(address)
        return network is not None and caller is not None and caller.version == network.version and caller in network
    if _is_pattern(entry):
        return any(_pattern(entry).fullmatch(name) for name in names)
    return entry in names or _plain(entry) in names


def _is_subnet(entry: str) -> bool:
    is_numeric = "." in entry or ":" in entry
    return is_numeric and ("/" in entry or " " in entry.strip())


def _is_pattern(entry: str) -> bool:
    return "*" in entry or "?" in entry


def _pattern(entry: str) -> re.Pattern[str]:
    """Return what the pattern means; unlike `fnmatch`, brackets mean themselves."""
    marks = {"*": ".*", "?": "."}
    return re.compile("".join(marks.get(char) or re.escape(char) for char in entry), re.DOTALL)


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network("/".join(re.split(r"[/\s]+", entry.strip())), strict=False)
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    # A socket for both families reports IPv4 callers this way.
    return (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped) or found


def _plain(text: str) -> str:
    """Return an address in its one usual spelling, any other text as it is."""
    return str(_address(text) or text)
