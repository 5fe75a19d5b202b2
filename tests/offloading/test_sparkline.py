import pytest
from django.template import Context, Template

from offloading.templatetags import sparkline


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0, 3, 12, 1], "16 jobs in the last 4 minutes, at most 12 a minute, 1 in the last one"),
        ([0, 0], "No jobs in the last 2 minutes"),
        ([5], "5 jobs in the last minute, at most 5 a minute, 5 in the last one"),
        ([2000, 0], "2,000 jobs in the last 2 minutes, at most 2,000 a minute, 0 in the last one"),
    ],
)
def test_the_picture_is_said_in_words(values, text):
    assert sparkline.describe(values, "jobs") == text


def test_the_line_goes_from_edge_to_edge_and_the_peak_to_the_top():
    assert sparkline._line([0, 10, 5]) == "M0.0 22.5L60.0 1.5L120.0 12.0"


def test_one_value_is_a_level_line():
    assert sparkline._line([7]) == "M0.0 1.5L120.0 1.5"


def test_no_values_draw_nothing():
    assert sparkline._line([]) == sparkline._area([]) == ""


def test_nothing_but_zeros_lies_at_the_bottom_and_is_marked():
    svg = sparkline.sparkline([0, 0, 0])
    assert "M0.0 22.5L60.0 22.5L120.0 22.5" in svg
    assert "data-zero" in svg


def test_the_tag_escapes_what_it_is_told():
    drawn = Template('{% load sparkline %}{% sparkline values "<b>" %}').render(Context({"values": [1, 2]}))
    assert 'role="img"' in drawn
    assert "3 &lt;b&gt; in the last 2 minutes" in drawn
