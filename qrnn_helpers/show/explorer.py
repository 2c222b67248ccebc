"""Knobs for circuits, shots and jobs, and what they cost by linear laws, worked out in the page."""

from __future__ import annotations

import hashlib
import html
import json

import pandas as pd

from ..checks import check_instance

LAW = ["seconds_job", "seconds_shot", "money_job", "money_circuit", "money_shot"]
"""Columns of the laws: what one job, one circuit, one shot adds.  NaN is not known."""

# Knobs as powers: of ten in tenths for circuits and jobs, of two for shots a circuit.
KNOBS = {
    "circuits": ("circuits", 'min="2" max="7" step="0.1" value="5"', 10),
    "shots": ("shots a circuit", 'min="0" max="12" step="1" value="6"', 2),
    "jobs": ("jobs", 'min="0" max="5" step="0.1" value="3"', 10),
}

_PAGE = """\
<figure class="explorer cost-explorer" data-costs="{key}">
{knobs}
<p>Shots in all: <output data-value="all"></output></p>
<table><thead><tr><th scope="col">machine</th><th scope="col">hours</th><th scope="col">{currency}</th></tr></thead>
<tbody>{rows}</tbody></table>{caption}
<script type="application/json">{data}</script>
</figure>
<script>{script}</script>"""

_KNOB = """\
<div class="knob"><label for="{key}-{name}">{label}</label>
<input type="range" id="{key}-{name}" data-knob="{name}" data-base="{base}" {range}>
<output for="{key}-{name}"></output></div>"""

_ROW = """\
<tr><th scope="row">{name}</th><td data-value="hours-{place}"></td><td data-value="money-{place}"></td></tr>"""

# Finds its explorers by key, as the frame player does.
_SCRIPT = """
document.querySelectorAll('[data-costs="KEY"]:not([data-ready])').forEach(function (box) {
  var laws = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
  var form = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 3 });
  function say(name, value) {
    box.querySelector('[data-value="' + name + '"]').textContent = value === null ? 'not known' : form.format(value);
  }
  function sum(law, counts) {
    return law.some(function (price) { return price === null; }) ? null
      : law.reduce(function (total, price, k) { return total + price * counts[k]; }, 0);
  }
  function update() {
    var set = {};
    box.querySelectorAll('input').forEach(function (knob) {
      var value = Math.round(Math.pow(Number(knob.dataset.base), Number(knob.value)));
      var text = form.format(value);
      set[knob.dataset.knob] = value;
      knob.setAttribute('aria-valuetext', text);
      box.querySelector('output[for="' + knob.id + '"]').textContent = text;
    });
    var shots = set.circuits * set.shots;
    say('all', shots);
    laws.forEach(function (law, k) {
      var seconds = sum([law.seconds_job, law.seconds_shot], [set.jobs, shots]);
      say('hours-' + k, seconds === null ? null : seconds / 3600);
      say('money-' + k, sum([law.money_job, law.money_circuit, law.money_shot], [set.jobs, set.circuits, shots]));
    });
  }
  box.addEventListener('input', update);
  box.setAttribute('data-ready', '');
  update();
});
"""


class CostExplorer:
    """Knobs and a table, as HTML that needs neither kernel nor network; made by `cost_explorer`."""

    def __init__(self, page: str) -> None:
        self._page = page

    def _repr_html_(self) -> str:
        return self._page

    def __repr__(self) -> str:
        return "<CostExplorer>"


def cost_explorer(laws: pd.DataFrame, *, currency: str = "USD", caption: str = "") -> CostExplorer:
    """Hours and money of circuits, shots and jobs by linear laws, one a row; the last value of a cell.

    ``laws`` has a row for each machine and the columns ``seconds_job, seconds_shot, money_job, money_circuit,
    money_shot``: seconds = seconds_job jobs + seconds_shot shots, and money likewise.  NaN is shown as "not known".
    """
    check_instance("laws", laws, pd.DataFrame, "a table with a row for each machine")
    if missing := set(LAW) - set(laws):
        raise ValueError(f"laws must have the columns {', '.join(LAW)}; it lacks {', '.join(sorted(missing))}")
    numbers = laws[LAW].astype(object).where(laws[LAW].notna(), None)
    data = json.dumps(numbers.to_dict("records"))
    names = [html.escape(str(name)) for name in laws.index]
    key = "costs-" + hashlib.sha256((data + "".join(names)).encode()).hexdigest()[:12]
    knobs = (
        _KNOB.format(key=key, name=name, label=label, range=ends, base=base)
        for name, (label, ends, base) in KNOBS.items()
    )
    page = _PAGE.format(
        key=key,
        knobs="\n".join(knobs),
        currency=html.escape(currency),
        rows="\n".join(_ROW.format(name=name, place=place) for place, name in enumerate(names)),
        caption=f"\n<figcaption>{html.escape(caption)}</figcaption>" if caption else "",
        data=data,
        script=_SCRIPT.replace("KEY", key),
    )
    return CostExplorer(page)
