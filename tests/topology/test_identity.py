import pytest

from topology import identity


def test_sling_id_is_made_once_and_read_from_then_on(home):
    first = identity.sling_id()
    identity._read_or_make.cache_clear()
    assert identity.sling_id() == first
    assert (home / "sling.id").read_text() == f"{first}\n"
    assert [path.name for path in home.iterdir()] == ["sling.id"]


def test_id_made_by_another_process_in_the_meantime_is_kept(home):
    home.mkdir()
    (home / "sling.id").write_text("theirs\n")
    identity._make(home / "sling.id")
    assert identity.sling_id() == "theirs"


@pytest.mark.parametrize("text", ["", "two words", "a.b", "x" * 37])
def test_damaged_id_is_an_error_that_says_what_to_do(home, text):
    home.mkdir()
    (home / "sling.id").write_text(text)
    with pytest.raises(identity.IdentityInvalid, match=r"sling\.id holds no sling id\. Restore it, or remove"):
        identity.sling_id()


def test_home_is_held_by_one_at_a_time(home):
    lock = identity.hold_home()
    with pytest.raises(identity.AlreadyRunning, match="in use by process [0-9]+"):
        identity.hold_home()
    lock.close()
    identity.hold_home().close()


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("http://127.0.0.1:4502/", "127.0.0.1:4502"),
        ("https://user:secret@host/x", "host"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_label_is_host_and_port(url, label):
    assert identity.endpoint_label(url) == label
