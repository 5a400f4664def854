"""Where a body names images, and how the way there is told."""

from __future__ import annotations

from resource_server.adapters.remote_images.places import MAX_PATH_CHARS, places_in


def test_the_way_to_a_place_is_told_with_names_and_numbers() -> None:
    value = [0, {"content": ["text", [], {"image_url": {"url": "https://a"}}]}]
    [place] = places_in("input", value)
    assert (place.path, place.trail.field) == ("input[1].content[2].image_url.url", "input")


def test_a_way_of_any_length_is_told_in_short() -> None:
    deep: object = {"x" * 10_000: {"image_url": "https://a"}}
    for _ in range(2000):
        deep = [deep]
    [place] = places_in("input", deep)
    assert place.url == "https://a"
    assert place.path.startswith("input[0][0]")
    assert len(place.path) == MAX_PATH_CHARS + len("...")


def test_what_is_no_container_holds_nothing() -> None:
    assert list(places_in("input", "https://a")) == []
    assert list(places_in("input", {"image_url": 3, "video_url": [], "source": "x"})) == []
