"""Pictures for pages: PNGs with alternative text, and a player of frames that works without a kernel."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from ..checks import check_instance, check_integer, check_real, shown

PNG_START = b"\x89PNG\r\n\x1a\n"


def _png(frame: Figure | bytes, dpi: int, colours: int, name: str = "frames") -> bytes:
    """A small PNG: a palette of `colours` instead of full colour, no metadata."""
    check_integer("dpi", dpi, minimum=1, maximum=600)
    check_integer("colours", colours, minimum=2, maximum=256)
    if isinstance(frame, Figure):
        frame = _drawn(frame, dpi)
    if not (isinstance(frame, bytes) and frame.startswith(PNG_START)):
        raise TypeError(f"{name} must be Figures or PNG bytes; a frame is {type(frame).__name__} {shown(frame, 20)}")
    try:
        image = Image.open(io.BytesIO(frame)).convert("RGB").quantize(colours)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{name} must be whole PNG pictures; got {len(frame)} bytes: {error}") from error
    small = io.BytesIO()
    image.save(small, format="PNG", optimize=True)
    return small.getvalue()


def _drawn(figure: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    plt.close(figure)  # else Jupyter shows it a second time
    return buffer.getvalue()


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def picture(figure: Figure | bytes, alt: str, *, dpi: int = 90, colours: int = 64) -> str:
    """One figure as an ``<img>`` with alternative text, for ``widgets.HTML``.

    (``widgets.Image`` cannot carry alternative text.) The figure is closed.
    """
    check_instance("figure", figure, (Figure, bytes), "a Figure or PNG bytes")
    _check_text("alt", alt)
    url = _data_url(_png(figure, dpi, colours, "figure"))
    return f'<img src="{url}" alt="{html.escape(alt)}" style="max-width:100%;height:auto">'


_PAGE = """\
<figure class="frame-player" data-player="{key}" style="margin:1em 0">
<img src="{first}" alt="{alt}" width="{width}" height="{height}" \
style="max-width:100%;height:auto;background:#fff">
<div class="frame-player-controls" hidden>
<button type="button">Play</button>
<label for="{key}-slider">{label}</label>
<input type="range" id="{key}-slider" min="0" max="{last}" step="1" value="0">
<output for="{key}-slider"></output>
</div>{caption}
<script type="application/json">{data}</script>
</figure>
<script>{script}</script>"""

# Finds its players by key, so it works where `document.currentScript` is empty
# (JupyterLab). Nothing plays by itself; who asked for less motion steps by hand.
_SCRIPT = """
document.querySelectorAll('[data-player="KEY"]:not([data-ready])').forEach(function (box) {
  var frames = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
  var img = box.querySelector('img'), bar = box.querySelector('.frame-player-controls');
  var slider = bar.querySelector('input'), button = bar.querySelector('button');
  var text = bar.querySelector('output'), timer = null;
  var calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  function show(k) {
    slider.value = k;
    img.src = frames[k].src;
    img.alt = frames[k].alt;
    text.textContent = frames[k].label;
    slider.setAttribute('aria-valuetext', frames[k].label);
  }
  function next() { show((Number(slider.value) + 1) % frames.length); }
  function pause() { clearInterval(timer); timer = null; name_button(); }
  function name_button() {
    button.textContent = timer ? 'Pause' : (calm ? 'Next' : 'Play');
  }
  button.addEventListener('click', function () {
    if (calm) { next(); } else if (timer) { pause(); }
    else { next(); timer = setInterval(next, PACE); name_button(); }
  });
  slider.addEventListener('input', function () { pause(); show(Number(slider.value)); });
  box.setAttribute('data-ready', '');
  bar.hidden = false;
  name_button();
  show(0);
});
"""


class FramePlayer:
    """Pictures with a slider, as HTML that needs neither kernel nor network.

    Made by :func:`player`; its value as a notebook output is what counts.
    Without JavaScript (an untrusted notebook) the first picture stands alone.
    """

    def __init__(self, page: str, frames: int) -> None:
        self._page, self._frames = page, frames

    def _repr_html_(self) -> str:
        return self._page

    def __repr__(self) -> str:
        return f"<FramePlayer: {self._frames} frames>"


def player(
    frames: Sequence[Figure | bytes],
    labels: Sequence[str],
    alt: str | Sequence[str],
    *,
    caption: str = "",
    slider_label: str = "frame",
    seconds: float = 0.5,
    dpi: int = 90,
    colours: int = 64,
    max_bytes: int = 700_000,
) -> FramePlayer:
    """Pictures to leaf through with a slider; make it the last value of a cell.

    Parameters
    ----------
    frames
        Matplotlib figures of one size (they are closed), or PNG bytes.
    labels
        One short text a frame, shown beside the slider and read aloud.
    alt
        One alternative text a frame, or a single text in which ``{label}`` stands
        for the frame's label.
    caption
        Plain text below the pictures.
    slider_label
        What the slider moves, such as ``"update"``.
    seconds
        How long a frame stays while it plays, at least 0.05.
    dpi, colours
        Size of the pictures and of their palettes.
    max_bytes
        The most that all pictures may take together as text.

    Raises
    ------
    ValueError
        No frames, lists of different lengths, an empty alternative text, pictures
        larger than `max_bytes`.
    TypeError
        A frame that is neither a figure nor a PNG.
    """
    check_instance("frames", frames, (list, tuple), "a list of figures or PNG bytes")
    alts = [alt] if isinstance(alt, str) else alt
    _check_texts(labels=labels, alt=alts, caption=[caption], slider_label=[slider_label])
    check_integer("max_bytes", max_bytes, minimum=1)
    pace = round(1000 * min(check_real("seconds", seconds, minimum=0.05), 1e6))
    if isinstance(alt, str):
        alts = [alt.replace("{label}", label) for label in labels]
    if not frames or not len(frames) == len(labels) == len(alts):
        raise ValueError(
            f"frames, labels and alt have lengths {len(frames)}, {len(labels)} and "
            f"{len(alts)}; allowed is one common length of at least 1"
        )
    if not all(text.strip() for text in alts):
        raise ValueError("alt is empty for a frame (with {label}: its entry of labels); every picture needs a text")
    pngs = [_png(frame, dpi, colours) for frame in frames]
    urls = [_data_url(png) for png in pngs]
    if (size := sum(map(len, urls))) > max_bytes:
        raise ValueError(f"frames take {size} bytes; allowed are max_bytes={max_bytes}")
    data = [{"src": src, "alt": text, "label": label} for src, text, label in zip(urls, alts, labels)]
    return FramePlayer(_page(data, Image.open(io.BytesIO(pngs[0])).size, caption, slider_label, pace), len(data))


def _check_texts(**lists: Sequence[str]) -> None:
    """Every argument must be text, or a list of texts."""
    for name, texts in lists.items():
        for text in check_instance(name, texts, (list, tuple), "a list of texts"):
            _check_text(name, text)


def _check_text(name: str, text: str) -> None:
    try:
        check_instance(name, text, str, "text").encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be text that UTF-8 can hold; got {shown(text)}") from error


def _page(data: list[dict[str, str]], size: tuple[int, int], caption: str, label: str, pace: int) -> str:
    """Fill in the page; names come from the content, so equal input gives equal bytes."""
    text = json.dumps(data).replace("<", "\\u003c")  # no "</script>" inside a script
    key = "player-" + hashlib.sha256((text + caption + label).encode()).hexdigest()[:12]
    below = f"\n<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return _PAGE.format(
        key=key, first=data[0]["src"], alt=html.escape(data[0]["alt"]), data=text,
        width=size[0], height=size[1], last=len(data) - 1,
        label=html.escape(label), caption=below, script=_SCRIPT.replace("KEY", key).replace("PACE", str(pace)),
    )  # fmt: skip
