"""House style, glued numbers and the frame player."""

import importlib
import io
import json
import re

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from qrnn_helpers import show
from qrnn_helpers.show import frame_player as show_frame_player
from qrnn_helpers.show import style as show_style


def figure(value: float = 0.0) -> plt.Figure:
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, value])
    return fig


def test_import_leaves_matplotlib_alone():
    with plt.rc_context():
        plt.rcdefaults()
        before = plt.rcParams["axes.prop_cycle"]
        importlib.reload(importlib.import_module(show_style.use_house_style.__module__))
        assert plt.rcParams["axes.prop_cycle"] == before
        show_style.use_house_style()
        assert plt.rcParams["axes.prop_cycle"] != before


def test_styles_differ_in_colour_dash_and_marker():
    styles = [show_style.line_style(k) for k in range(len(show_style.COLOURS))]
    for key in ("color", "linestyle", "marker"):
        assert len({str(s[key]) for s in styles}) == len(styles)
    with pytest.raises(ValueError, match="spza"):
        show_style.line_style("spza")


def test_tell_prints_and_glues_the_rounded_string(capsys, monkeypatch):
    import myst_nb

    glued = {}
    monkeypatch.setattr(myst_nb, "glue", lambda n, v, display: glued.update({n: v}))
    show_style.tell("data-energy", 0.70049, ".2f", "units")
    assert capsys.readouterr().out == "data-energy = 0.70 units\n"
    assert glued == {"data-energy": "0.70 units"}


def test_player_is_complete_and_repeats():
    make = lambda: show_frame_player.player(  # noqa: E731
        [figure(1), figure(2)],
        ["one", "two </script>"],
        "A line up to {label}",
        caption="a < b",
        slider_label="height",
    )
    page = make()._repr_html_()
    assert page == make()._repr_html_()
    assert not plt.get_fignums()
    assert page.count("</script>") == 2 and "a &lt; b" in page
    assert "A line up to one" in page and "two \\u003c/script>" in page
    key = re.search(r'data-player="(player-[0-9a-f]{12})"', page).group(1)
    assert f'label for="{key}-slider"' in page and f'id="{key}-slider"' in page
    assert "http" not in page
    assert repr(make()) == "<FramePlayer: 2 frames>"


def test_player_says_what_is_wrong():
    with pytest.raises(ValueError, match="lengths 1, 2 and 2"):
        show_frame_player.player([figure()], ["a", "b"], "{label}")
    with pytest.raises(ValueError, match="lengths 0"):
        show_frame_player.player([], [], "x")
    with pytest.raises(ValueError, match="alt is empty"):
        show_frame_player.player([figure()], ["a"], " ")
    with pytest.raises(TypeError, match="frame is str"):
        show_frame_player.player(["x"], ["a"], "b")
    with pytest.raises(ValueError, match="max_bytes=10"):
        show_frame_player.player([figure()], ["a"], "b", max_bytes=10)


def test_player_takes_png_bytes_and_makes_them_small():
    buffer = io.BytesIO()
    fig = figure(3)
    fig.savefig(buffer, format="png")
    plt.close(fig)
    page = show_frame_player.player([buffer.getvalue()], ["a"], "b")._repr_html_()
    assert 'width="300" height="200"' in page
    assert len(page) < 20_000


def test_picture_has_its_text():
    assert 'alt="a &quot;b&quot;"' in show_frame_player.picture(figure(), 'a "b"')


def test_a_widget_stands_by_itself_and_repeats():
    """Script, style and data are in it; no text of the data ends the script; equal data give equal bytes."""
    data = {"a": [1.5, None], "text": "</script> and <!-- this"}
    page = show.page_widget("decision", data)._repr_html_()
    assert page == show.page_widget("decision", data)._repr_html_()
    held = re.search(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert held and json.loads(held[1]) == data
    assert page.count("</script>") == 2 and "http://www.w3.org/2000/svg" in page
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)


@pytest.mark.parametrize(("data", "what"), [({"a": float("nan")}, "data"), ({"a": {1, 2}}, "data"), ([1], "data")])
def test_a_widget_takes_what_json_holds(data, what):
    with pytest.raises((TypeError, ValueError), match=what):
        show.page_widget("decision", data)
