"""The asset page: picture, renditions, metadata, and the story of how it came to them."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from content import services
from dam import ingestion, processes, story, structure
from offloading.models import Attempt, Job, Transfer
from tests.dam import pictures
from topology import identity
from workflow import engine
from workflow.models import Workflow


def page(client, asset, **headers):
    response = client.get(reverse("dam:asset", args=[asset]), headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def test_processed_asset_shows_everything_about_it(staff_client, library):
    asset = library.upload("photo.jpg", pictures.jpeg(pictures.corner(), exif=pictures.exif(6)))
    library.work()
    shown = page(staff_client, asset)
    for name in ("cq5dam.thumbnail.48.48.png", "cq5dam.thumbnail.319.319.png", "cq5dam.web.1280.1280.jpeg", "original"):
        assert f"/assets/rendition/{name}/content/dam/photo.jpg?v=" in shown
    assert "tiff:Orientation" in shown
    assert "300 × 400" in shown, "upright"
    assert library.original(asset).digest in shown
    assert 'data-state="processed"' in shown


def test_failed_asset_shows_cause_and_retry(staff_client, library):
    asset = library.upload("text.jpg", b"words")
    library.work()
    shown = page(staff_client, asset)
    assert "Failed: text.jpg is not a picture: its bytes are plain text" in shown
    assert reverse("dam:asset-retry", args=[asset]) in shown
    answer = staff_client.post(reverse("dam:asset-retry", args=[asset]), headers={"HX-Request": "true"})
    assert answer.status_code == 204
    assert "is being processed again" in answer["HX-Trigger"]
    assert library.state(asset) == "processing"


def test_reader_sees_no_way_to_change_it(reader_client, library):
    asset = library.upload("text.jpg", b"words")
    library.work()
    shown = page(reader_client, asset)
    assert "Failed: text.jpg" in shown
    for name in ("asset-retry", "asset-replace", "asset-remove"):
        assert reverse(f"dam:{name}", args=[asset]) not in shown


def test_asset_that_nobody_takes_names_every_instance_and_why(staff_client, library):
    asset = library.upload()
    Job.objects.update(target="")
    shown = page(staff_client, asset)
    assert "no instance takes topic" in shown
    assert f"{identity.label()}: the topology is changing" in shown


def test_removed_asset_leads_back_to_its_folder(staff_client, library):
    folder = ingestion.create_folder(parent=structure.ROOT, name="trip", by="ann")
    asset = library.upload(folder=folder)
    answer = staff_client.post(reverse("dam:asset-remove", args=[asset]))
    assert answer["Location"] == reverse("dam:folder", args=[folder])
    assert services.get(asset) is None


def test_folders_and_other_nodes_have_no_asset_page(staff_client, library):
    folder = ingestion.create_folder(parent=structure.ROOT, name="trip", by="ann")
    asset = library.upload()
    for path in (folder, structure.ROOT, structure.content(asset), "/etc/workflow/models", "/content/dam/none"):
        assert staff_client.get(reverse("dam:asset", args=[path])).status_code == 404


def test_fragment_that_would_be_the_same_is_not_sent_again(staff_client, library):
    asset = library.upload()
    fragment = page(staff_client, asset, **{"HX-Request": "true"})
    assert fragment.strip().startswith('<div class="stack" id="asset"')
    again = fragment.partition('hx-get="')[2].partition('"')[0]
    assert staff_client.get(again, headers={"HX-Request": "true"}).status_code == 204
    library.work()
    assert staff_client.get(again, headers={"HX-Request": "true"}).status_code == 200


# --- The story ------------------------------------------------------------------------------------------------------


def test_story_of_work_done_in_this_cluster(library):
    asset = library.upload()
    library.work()
    (run,) = story.of_asset(asset)
    assert run.workflow.model_title == "DAM Update Asset Offloading"
    assert (run.bytes_out, run.bytes_back, run.attempt_count) == (0, 0, 1)
    titles = [event.title for event in run.events]
    for title in ("Gate Keeper", "DAM Workflow Offloading", "Metadata Processor", "Process Thumbnails"):
        assert title in titles
    assert {event.where for event in run.events} == {identity.label()}
    assert not any(event.is_going_on for event in run.events)
    attempt = next(event for event in run.events if event.kind == "attempt")
    assert (attempt.tone, attempt.title) == ("good", "Attempt 1, fence 1: succeeded")
    assert attempt.log == "", "its steps stand beside it already"


def test_story_keeps_the_jobs_of_earlier_tries(library):
    asset = library.upload("text.jpg", b"words")
    library.work()
    ingestion.retry_asset(path=asset, by="ann")
    library.work()
    (run,) = story.of_asset(asset)
    assert run.attempt_count == 2
    assert len(run.workflow.metadata[processes.OFFLOADING_JOBS]) == 2
    assert [event.tone for event in run.events if event.kind == "attempt"] == ["danger", "danger"]
    assert any("not a picture" in event.text for event in run.events)
    assert all("Metadata Processor" in event.log for event in run.events if event.kind == "attempt")


def test_story_has_one_run_for_each_original(library):
    asset = library.upload()
    library.work()
    ingestion.retry_asset(path=asset, by="ben")
    library.work()
    newest, oldest = story.of_asset(asset)
    assert (newest.workflow.initiator, oldest.workflow.initiator) == ("ben", "ann")


def far_away(library, state=Transfer.State.SENDING, outcome="", error=""):
    """Put an upload where it would be while another installation has it."""
    asset = library.upload()
    workflow = Workflow.objects.get(is_offloaded=False)
    there = str(uuid.uuid4())
    job = Job.objects.create(
        id=uuid.uuid4(),
        topic=engine.OFFLOADING_TOPIC,
        queue="main",
        state="ACTIVE",
        target=there,
        application=identity.sling_id(),
        fence=2,
        claimed_by=f"remote:{there}",
    )
    for fence, ended in ((1, "LOST"), (2, outcome)):
        Attempt.objects.create(
            job=job, fence=fence, instance=there, instance_label=f"10.0.0.{fence}:4512", outcome=ended, message=error
        )
    Attempt.objects.filter(fence=1).update(ended_at="2026-01-01T00:00:00Z")
    Transfer.objects.create(
        job=job,
        fence=2,
        peer=there,
        peer_label="10.0.0.2:4512",
        direction="OUT",
        is_sender=True,
        state=state,
        bytes_total=4096,
        bytes_moved=1024,
        blobs_total=2,
        blobs_moved=1,
        error=error,
    )
    Workflow.objects.filter(pk=workflow.pk).update(external_id=str(job.id))
    return asset


def test_asset_on_its_way_to_another_installation_says_how_far_it_is(staff_client, library):
    asset = far_away(library)
    shown = page(staff_client, asset)
    assert "Sending to 10.0.0.2:4512: 1.0\xa0KB of 4.0\xa0KB" in shown
    assert "Attempt 1, fence 1: instance lost" in shown
    assert "1 of 2 files travelled" in shown


def test_asset_that_arrived_there_is_processed_there(staff_client, library):
    asset = far_away(library, state=Transfer.State.DONE)
    assert "Processing on 10.0.0.2:4512" in page(staff_client, asset)


def test_asset_that_cannot_be_sent_says_why(staff_client, library):
    asset = far_away(library, state=Transfer.State.PARKED, error="connection refused")
    assert "Sending to 10.0.0.2:4512: connection refused" in page(staff_client, asset)


@pytest.mark.parametrize("count", [1, 4])
def test_number_of_queries_does_not_grow_with_the_story(staff_client, library, count):
    asset = library.upload()
    library.work()
    for _ in range(count):
        ingestion.retry_asset(path=asset, by="ann")
        library.work()
    with CaptureQueriesContext(connection) as captured:
        page(staff_client, asset)
    # One of them is what is paused, which outside of tests is remembered for a moment.
    assert len(captured) == 10
