import pytest

from topology.connectors import allowlist


@pytest.mark.parametrize(
    ("entry", "address", "host", "is_accepted"),
    [
        ("localhost", "127.0.0.1", "localhost", True),
        ("localhost", "127.0.0.1", "", False),
        ("127.0.0.1", "127.0.0.1", "", True),
        (" 127.0.0.1 ", "127.0.0.1", "", True),
        ("127.0.0.1", "127.0.0.2", "", False),
        ("127.0.0.1", "::ffff:127.0.0.1", "", True),
        ("::1", "0:0:0:0:0:0:0:1", "", True),
        ("10.1.2.0/24", "10.1.2.0", "", True),
        ("10.1.2.4/24", "10.1.2.255", "", True),
        ("10.1.2.0/24", "10.1.3.1", "", False),
        ("10.1.2.3/32", "10.1.2.3", "", True),
        ("10.1.2.0/31", "10.1.2.1", "", True),
        ("10.1.2.0 255.255.255.0", "10.1.2.9", "", True),
        ("10.1.2.0 255.255.255.0", "10.1.9.2", "", False),
        ("10.0.0.0/8", "::ffff:10.9.9.9", "", True),
        ("10.0.0.0/8", "fd00::1", "", False),
        ("10.0.0.0/8", "nonsense", "", False),
        ("fd00::/8", "fd00::1", "", True),
        ("10.1.2.0/99", "10.1.2.0", "", False),
        ("1.2 3.4 5.6", "1.2.3.4", "", False),
        ("10.1.2.*", "10.1.2.77", "", True),
        ("10.1.2.?", "10.1.2.77", "", False),
        ("10.1.2.?", "10.1.2.7", "", True),
        ("10.1.2.*", "10.1x2.7", "", False),
        ("worker*.example.com", "10.0.0.1", "worker12.example.com", True),
        ("worker*.example.com", "10.0.0.1", "Worker1.example.com", False),
        ("worker*.example.com", "10.0.0.1", "worker1.example.com.evil.net", False),
        ("worker[1].example.com*", "10.0.0.1", "worker1.example.com", False),
        ("*", "10.0.0.1", "", True),
        ("", "", "", False),
    ],
)
def test_entry_accepts_what_it_says(entry, address, host, is_accepted):
    assert allowlist.accepts([entry], address=address, host=host) is is_accepted


def test_empty_list_lets_nobody_in():
    assert not allowlist.accepts([], address="127.0.0.1", host="localhost")


def test_any_entry_is_enough():
    assert allowlist.accepts(["no", "10.0.0.0/8"], address="10.0.0.1")


@pytest.mark.parametrize(
    ("entry", "needs_host"), [("localhost", True), ("*.local", True), ("10.0.0.1", False), ("10.0.0.0/8", False)]
)
def test_names_are_looked_up_only_for_entries_that_name_hosts(entry, needs_host):
    assert allowlist.needs_host([entry]) is needs_host


def test_malformed_subnets_are_found():
    entries = ["10.0.0.0/8", "10.0.0.0/99", "10.0.0.0 255.255.0.0", "1.2.3.4 a b", "localhost", "*"]
    assert allowlist.malformed(entries) == ["10.0.0.0/99", "1.2.3.4 a b"]
