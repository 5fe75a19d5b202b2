import pytest

from topology.election import Member, arrange, leader

A, B, C = Member("a", 1), Member("b", 2), Member("c", 3)
A_AGAIN = Member("a", 4)


@pytest.mark.parametrize(
    ("former", "live", "expected"),
    [
        ((), [C, A, B], (A, B, C)),
        ((A, B), [B, A, C], (A, B, C)),
        ((B, C), [A, B, C], (B, C, A)),
        ((A, B), [B], (B,)),
        ((A, B), [A_AGAIN, B], (B, A_AGAIN)),
        ((A,), [C, B], (B, C)),
        ((A,), [], ()),
    ],
    ids=["first view", "newcomer last", "early number, late commit", "leader gone", "leader back", "all new", "nobody"],
)
def test_members_keep_their_place_and_newcomers_queue_up(former, live, expected):
    assert arrange(former, live) == expected


def test_first_member_leads():
    assert leader((B, A)) == B
    with pytest.raises(ValueError, match="no leader"):
        leader(())
