"""The folder screen: who sees what, what is created, and that its cost does not grow with what is in it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import escape

from content import services
from dam import ingestion, structure
from offloading.models import Job
from topology import identity

ROOT = "/assets/"
MARKUP = "<img src=x onerror=alert(1)>"


def page(client, url=ROOT, **headers):
    response = client.get(url, headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def test_empty_library_says_what_will_appear(staff_client):
    shown = page(staff_client)
    assert "Nothing here yet" in shown
    assert "Drop photos here" in shown


def test_visitor_is_sent_to_the_login(client, db):
    assert client.get(ROOT).status_code == 302
    assert client.post(reverse("dam:asset-upload", args=[structure.ROOT])).status_code == 302


def test_reader_sees_the_assets_and_no_way_to_change_them(reader_client, library):
    asset = library.upload("text.jpg", b"words")
    library.work()
    shown = page(reader_client)
    assert "text.jpg" in shown and "Failed: text.jpg is not a picture" in shown
    for word in ("Drop photos here", "Create folder", ">Retry"):
        assert word not in shown
    assert "Uploading and changing it is for staff" in shown
    for name in ("asset-retry", "asset-replace", "asset-remove", "folder-create", "asset-upload"):
        path = structure.ROOT if name in ("folder-create", "asset-upload") else asset
        assert reader_client.post(reverse(f"dam:{name}", args=[path])).status_code == 403
    assert services.get(asset) is not None


@pytest.mark.parametrize("name", ["asset-retry", "asset-replace", "asset-remove", "folder-create", "asset-upload"])
def test_changes_are_posts(staff_client, library, name):
    asset = library.upload()
    assert staff_client.get(reverse(f"dam:{name}", args=[asset])).status_code == 405
    assert services.get(asset) is not None


def test_folder_is_created_and_entered(staff_client, library):
    answer = staff_client.post(reverse("dam:folder-create", args=[structure.ROOT]), {"name": "Trips & more"})
    assert answer.status_code == 302 and answer["Location"] == ROOT
    url = reverse("dam:folder", args=["/content/dam/Trips & more"])
    assert f'href="{escape(url)}"' in page(staff_client)
    library.upload("one.jpg", folder="/content/dam/Trips & more")
    shown = page(staff_client, url)
    assert "one.jpg" in shown
    assert "1 asset" in page(staff_client)
    assert '<a href="/assets/">Assets</a>' in shown, "the breadcrumb leads back"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "There is an empty name"),
        ("a/b", "contains &#x27;/&#x27;"),
        ("..", "is not allowed"),
        ("x" * 300, "is 300 bytes long. Use at most 255"),
        ("twice", "twice exists in /content/dam"),
    ],
)
def test_folder_that_cannot_be_created_says_why(staff_client, library, name, said):
    ingestion.create_folder(parent=structure.ROOT, name="twice", by="ann")
    answer = staff_client.post(reverse("dam:folder-create", args=[structure.ROOT]), {"name": name})
    assert answer.status_code == 422
    assert said in answer.content.decode()


def test_unknown_folder_is_not_found(staff_client, db):
    for url in ("/assets/folder/content/dam/none", "/assets/folder/etc/workflow", "/assets/folder/content/dam/../dam"):
        assert staff_client.get(url).status_code == 404


def test_card_tells_where_its_asset_is_processed(staff_client, library):
    asset = library.upload()
    Job.objects.update(target=identity.sling_id())
    assert f'data-asset="{asset}" data-state="processing"' in page(staff_client)
    assert f"Waiting for its turn on {identity.label()}" in page(staff_client)


def test_card_of_an_asset_that_nobody_takes_says_why_not(staff_client, library):
    library.upload()
    Job.objects.update(target="")
    shown = page(staff_client)
    assert "Waiting: no instance takes topic com/adobe/granite/workflow/job" in shown
    assert "the topology is changing" in shown


def test_processed_card_shows_its_picture(staff_client, library):
    asset = library.upload()
    library.work()
    shown = page(staff_client)
    assert f'data-asset="{asset}" data-state="processed"' in shown
    assert "/assets/rendition/cq5dam.thumbnail.319.319.png/content/dam/photo.jpg?v=" in shown
    assert "400 × 300" in shown


def test_failed_card_offers_a_retry_that_works_without_scripts(staff_client, library):
    asset = library.upload("text.jpg", b"words")
    library.work()
    assert ">Retry</button>" in page(staff_client).replace("</svg>", ">")
    answer = staff_client.post(reverse("dam:asset-retry", args=[asset]), {"next": ROOT})
    assert (answer.status_code, answer["Location"]) == (302, ROOT)
    assert library.state(asset) == "processing"


def test_retry_does_not_lead_to_other_sites(staff_client, library):
    asset = library.upload("text.jpg", b"words")
    answer = staff_client.post(reverse("dam:asset-retry", args=[asset]), {"next": "https://example.org/"})
    assert answer["Location"] == reverse("dam:asset", args=[asset])


def test_asset_without_a_workflow_can_be_processed_by_hand(staff_client, library):
    path = "/libs/settings/workflow/launcher/config/update_asset_create"
    services.set_properties(path=path, properties={"enabled": False}, by="ann")
    asset = library.upload()
    assert library.state(asset) == "unProcessed"
    assert "no launcher has started a workflow" in page(staff_client)
    staff_client.post(reverse("dam:asset-retry", args=[asset]))
    library.work()
    assert library.state(asset) == "processed"


def test_markup_in_names_is_text_everywhere(staff_client, library):
    folder = ingestion.create_folder(parent=structure.ROOT, name=MARKUP, by="ann")
    failed = library.upload(f"{MARKUP}.jpg", b"words", folder=folder)
    library.upload(f"{MARKUP}.png", folder=folder)
    library.work()
    urls = [ROOT, reverse("dam:folder", args=[folder]), reverse("dam:asset", args=[failed])]
    for url in urls:
        shown = page(staff_client, url)
        assert MARKUP not in shown, url
        assert "&lt;img src=x onerror=alert(1)&gt;" in shown, url


def test_fragment_and_page_agree(staff_client, library):
    library.upload()
    library.work()
    fragment = page(staff_client, **{"HX-Request": "true"})
    assert fragment.strip().startswith('<div class="stack" id="cards"')
    assert "photo.jpg" in fragment and "<html" not in fragment


def test_fragment_that_would_be_the_same_is_not_sent_again(staff_client, library):
    asset = library.upload()
    fragment = page(staff_client, **{"HX-Request": "true"})
    again = fragment.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    assert staff_client.get(again, headers={"HX-Request": "true"}).status_code == 204
    library.work()
    answer = staff_client.get(again, headers={"HX-Request": "true"})
    assert answer.status_code == 200 and library.state(asset) in answer.content.decode()


def test_pages_of_a_big_folder_hold_every_asset_once(staff_client, library, monkeypatch):
    monkeypatch.setattr("dam.library.PAGE_SIZE", 3)
    names = [f"{number}.txt" for number in range(8)]
    for name in names:
        library.upload(name, b"x")
    seen, url = [], ROOT
    while url:
        shown = staff_client.get(url).context
        seen += [card.name for card in shown["page"].assets]
        url = shown["older_url"]
    assert seen == names[::-1]
    newer = staff_client.get(shown["newer_url"]).context
    assert [card.name for card in newer["page"].assets] == ["4.txt", "3.txt", "2.txt"]


def queries_of(client, url):
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


@pytest.mark.parametrize("state", ["processed", "processing"])
def test_number_of_queries_is_the_same_for_3_and_60_cards(staff_client, library, state):
    asset = library.upload()
    if state == "processed":
        library.work()
    assert library.state(asset) == state
    library.fill(3)
    few = queries_of(staff_client, ROOT)
    library.fill(60)
    assert [card.state for card in staff_client.get(ROOT).context["page"].assets] == [state] * 60
    assert queries_of(staff_client, ROOT) == few
