import pytest
from django.db.models.functions import Now

from tests.topology.conftest import RUN
from topology import services
from topology.connectors import announcement, registry
from topology.models import Connector

pytestmark = pytest.mark.django_db
PAGE = "/topology/"
FOREIGN = "99999999-9999-4999-8999-999999999999"
FOREIGN_CLUSTER = "88888888-8888-4888-8888-888888888888"


@pytest.fixture
def joined(sling_id):
    services.join(RUN)
    services.establish_view()
    return sling_id


@pytest.fixture
def foreign(joined):
    instance = announcement.AnnouncedInstance(FOREIGN, True, {"org.apache.sling.instance.endpoints": "http://w:4512/"})
    told = announcement.Announcement(FOREIGN, FOREIGN_CLUSTER, (instance,))
    registry.register(told, receiver=joined, inherited=False, is_trusted=True)
    return FOREIGN


def text(client, address, **headers):
    response = client.get(address, headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def test_nobody_sees_it_without_logging_in(client):
    assert client.get(PAGE).headers["Location"].startswith("/login/")


def test_clusters_are_listed_with_their_instances(reader_client, foreign):
    page = text(reader_client, PAGE)
    assert page.count("data-cluster=") == 2
    assert f"/topology/clusters/{FOREIGN_CLUSTER}/" in page
    assert "127.0.0.1:4502" in page and "w:4512" in page
    assert "signed and encrypted with the shared key" in page


def test_without_an_agent_the_page_says_that_the_topology_is_changing(reader_client, sling_id):
    assert "The topology is changing" in text(reader_client, PAGE)


def test_refusals_are_shown_with_their_sender(reader_client, joined):
    assert "Nothing was refused" in text(reader_client, PAGE)
    services.record_refusal("connector", "10.0.0.1", "The shared key <does> not fit.")
    services.record_refusal("connector", "10.0.0.1", "The shared key <does> not fit.")
    page = text(reader_client, PAGE)
    assert "10.0.0.1" in page and "The shared key &lt;does&gt; not fit." in page and "<td data-number>2</td>" in page


def test_outgoing_connector_shows_how_it_is_doing(reader_client, joined):
    Connector.objects.create(sling_id=joined, url="http://far:1/x", status="Nobody answers.", tried_at=Now())
    page = text(reader_client, PAGE)
    assert "Not connected" in page and "Nobody answers." in page and "never" in page


def test_cluster_view_says_who_is_current_and_who_leads(reader_client, joined):
    page = text(reader_client, f"/topology/clusters/{services.current_view().local_cluster.id}/")
    assert "Topology Admin" in page and "Cluster View" in page
    assert "Current" in page and "Leader" in page
    assert f"/topology/instances/{joined}/" in page


def test_instance_view_numbers_the_properties(reader_client, joined):
    page = text(reader_client, f"/topology/instances/{joined}/").replace("<wbr>", "")
    assert "Topology Admin" in page and "Cluster View" in page and "Instance View" in page
    for name in services.current_view().local.properties:
        assert name in page
    assert "/system/console" in page
    assert '<td data-tight class="quiet">1</td>' in page


@pytest.mark.parametrize("address", ["/topology/clusters/nobody/", "/topology/instances/nobody/"])
def test_who_left_is_not_found(reader_client, joined, address):
    response = reader_client.get(address)
    assert response.status_code == 404
    assert "Nothing is here" in response.content.decode()


def test_fragment_is_the_live_part_of_the_page(reader_client, joined):
    fragment = text(reader_client, PAGE, **{"HX-Request": "true"}).strip()
    assert fragment.startswith("<div") and "<html" not in fragment
    assert fragment.splitlines()[1] in text(reader_client, PAGE)


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_only_get_is_answered(staff_client, method):
    assert getattr(staff_client, method)(PAGE).status_code == 405


def test_address_of_granite_leads_here(reader_client):
    assert reader_client.get("/libs/granite/topology/content/view.html").headers["Location"] == PAGE


def test_number_of_queries_does_not_depend_on_the_topology(reader_client, foreign, django_assert_max_num_queries):
    with django_assert_max_num_queries(10):
        text(reader_client, PAGE)
