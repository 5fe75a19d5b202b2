from datetime import timedelta

import pytest
from django.db.models.functions import Now

from tests.topology.conftest import RUN
from topology import election, identity, services, snapshot
from topology.models import Instance, Joining, Refusal, View

pytestmark = pytest.mark.django_db


def other_instance(sling_id="other", *, run="other-run", age_seconds=0.0, home="elsewhere:/home"):
    joining = Joining.objects.create(sling_id=sling_id)
    return Instance.objects.create(
        sling_id=sling_id,
        join_number=joining.pk,
        runtime_id=run,
        endpoint="http://other:4502/",
        home=home,
        heartbeat_at=Now() - timedelta(seconds=age_seconds),
        properties={snapshot.ENDPOINTS: "http://other:4502/"},
    )


def silence(sling_id):
    Instance.objects.filter(sling_id=sling_id).update(heartbeat_at=Now() - timedelta(seconds=60))


def test_before_any_agent_the_local_instance_stands_alone_and_is_not_current(sling_id):
    view = services.current_view()
    assert [instance.sling_id for instance in view.instances] == [sling_id]
    assert view.local.is_local
    assert not view.local.is_leader
    assert (view.is_current, view.epoch) == (False, 0)
    assert view.local.label == "127.0.0.1:4502"


def test_joined_instance_establishes_a_current_view_and_leads_it(sling_id):
    services.join(RUN, "/tmp/address")
    services.establish_view()
    view = services.current_view()
    assert view.is_current
    assert view.epoch == 1
    assert view.local_cluster.leader == view.local
    assert Instance.objects.get().wakeup_address == "/tmp/address"
    assert set(services.live_run_ids()) == {RUN}


def test_view_is_built_in_three_queries(sling_id, django_assert_num_queries):
    services.join(RUN)
    services.establish_view()
    other_instance()
    services.establish_view()
    with django_assert_num_queries(3):
        assert len(services.current_view().instances) == 2


def test_newcomer_goes_to_the_end_and_the_cluster_keeps_its_id(sling_id):
    services.join(RUN)
    services.establish_view()
    before = services.current_view()
    other_instance()
    assert not services.current_view().is_current
    services.establish_view()
    after = services.current_view()
    assert [instance.sling_id for instance in after.local_cluster.instances] == [sling_id, "other"]
    assert after.local_cluster.leader == after.local
    assert (after.epoch, after.local_cluster.id) == (2, before.local_cluster.id)


def test_newcomer_with_an_early_number_committed_late_does_not_depose(sling_id):
    number = Joining.objects.create(sling_id="other").pk
    services.join(RUN)
    services.establish_view()
    other_instance()
    Instance.objects.filter(sling_id="other").update(join_number=number)
    services.establish_view()
    assert services.current_view().local_cluster.leader.sling_id == sling_id


def test_silent_leader_is_dropped_and_the_next_one_leads(sling_id):
    other_instance()
    services.join(RUN)
    services.establish_view()
    assert services.current_view().local_cluster.leader.sling_id == "other"
    silence("other")
    assert not services.current_view().is_current
    services.establish_view()
    view = services.current_view()
    assert view.local_cluster.leader.sling_id == sling_id
    assert view.get("other") is None
    assert set(services.live_run_ids()) == {RUN}


def test_too_late_heartbeat_is_refused_and_the_return_gets_a_new_number(sling_id):
    first = services.join(RUN)
    assert services.renew(RUN)
    silence(sling_id)
    assert not services.renew(RUN)
    assert services.join(RUN) > first
    assert Joining.objects.filter(sling_id=sling_id).count() == 1


def test_instance_that_is_not_alive_establishes_nothing(sling_id):
    services.join(RUN)
    silence(sling_id)
    assert services.establish_view() is None
    assert not View.objects.exists()


def test_only_the_first_to_insert_an_epoch_establishes_it(sling_id):
    services.join(RUN)
    first = services.establish_view()
    assert not services.insert_view(View(epoch=first.epoch, cluster_id="theirs", members=[], leader="other"))
    assert View.objects.get().cluster_id == first.cluster_id


def test_live_duplicate_is_refused_and_both_endpoints_are_named(sling_id):
    other_instance(sling_id)
    with pytest.raises(services.DuplicateInstance, match="http://other:4502/.*http://127.0.0.1:4502/"):
        services.join(RUN)


@pytest.mark.parametrize(
    "former", [{"age_seconds": 60}, {"run": RUN}, {"home": None}], ids=["silent", "the same run", "the same home"]
)
def test_former_self_is_replaced(sling_id, former):
    if "home" in former:
        former = {"home": identity.home()}
    other_instance(sling_id, **former)
    services.join(RUN)
    assert Instance.objects.get().runtime_id == RUN


def test_leaving_ends_the_stay_at_once(sling_id):
    services.join(RUN)
    services.establish_view()
    services.leave()
    assert set(services.live_run_ids()) == set()
    assert not services.current_view().is_current


def test_leaving_after_another_run_took_over_changes_nothing(sling_id, settings):
    services.join("newer-run")
    services.leave()
    assert set(services.live_run_ids()) == {"newer-run"}


def test_properties_are_written_when_they_change(sling_id, settings):
    services.join(RUN)
    settings.OFFLOADING_NAME = "author one"
    services.publish_properties(RUN)
    assert services.current_view().local.name == "author one"
    settings.OFFLOADING_NAME = "not ours any more"
    services.publish_properties("another run")
    assert services.current_view().local.name == "author one"


def test_old_views_and_refusals_are_pruned_but_never_the_last_view(sling_id):
    member = [{"sling_id": "gone", "join_number": 1}]
    for epoch in (1, 2, 3):
        View.objects.create(
            epoch=epoch, cluster_id="c", members=member, leader="gone", established_at=Now() - timedelta(days=2)
        )
    services.record_refusal("connector", "10.0.0.1", "wrong key")
    Refusal.objects.update(last_at=Now() - timedelta(days=31))
    services.prune()
    assert [view.epoch for view in View.objects.all()] == [3]
    assert not Refusal.objects.exists()


def test_refusals_are_counted_and_logged_once(caplog):
    for _ in range(3):
        services.record_refusal("connector", "10.0.0.1", "wrong key")
    services.record_refusal("connector", "10.0.0.2", "wrong key")
    assert [(row.caller, row.count) for row in services.refusals()] == [("10.0.0.2", 1), ("10.0.0.1", 3)]
    assert [record.message for record in caplog.records] == ["refused", "refused"]


def test_members_keep_their_order_in_the_row(sling_id):
    services.join(RUN)
    view = services.establish_view()
    assert view.members == [{"sling_id": sling_id, "join_number": Instance.objects.get().join_number}]
    assert election.Member(**view.members[0]).sling_id == view.leader
