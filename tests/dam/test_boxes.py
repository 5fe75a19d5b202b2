"""Which renditions a step asks for, and what they are called."""

import pytest

from dam.renditions import boxes
from dam.renditions.boxes import Box


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("[140:100:false,48:48:false,319:319:false]", (Box(140, 100), Box(48, 48), Box(319, 319))),
        ("[140:100]", (Box(140, 100),)),
        (" [ 140:100:true , 48:48 ] ", (Box(140, 100, True), Box(48, 48))),
        ("[]", ()),
    ],
)
def test_configs_are_read(text, parsed):
    assert boxes.parse_configs(text) == parsed


@pytest.mark.parametrize("text", ["[140]", "[140:]", "[a:b]", "[0:10]", "[140:100:maybe]", "[140:100:false:1]"])
def test_config_that_cannot_be_read_is_named(text):
    with pytest.raises(boxes.ConfigInvalid, match="thumbnail config"):
        boxes.parse_configs(text)


def test_names_hold_the_box():
    assert Box(319, 319).thumbnail_name == "cq5dam.thumbnail.319.319.png"
    assert Box(1280, 1280).web_name("jpeg") == "cq5dam.web.1280.1280.jpeg"


def test_largest_box_holds_all_others():
    wanted = boxes.Wanted((Box(140, 100), Box(48, 2000)), Box(1280, 1280))
    assert wanted.largest == Box(1280, 2000)
