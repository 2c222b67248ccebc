// A law of two variables as a map: two sliders, or a click on the map, say where one stands.
(function () {
  "use strict";
  const W = window.pageWidgets;

  // --- pure ------------------------------------------------------------------------------

  // Each law: `values` at a point, in words and numbers; `height`, what the map's shade shows;
  // `edge`, the second variable on a line that matters, for the first.
  const LAWS = {
    // Chapter 7: squared error over |g|^2 of SPSA's estimate.
    spsa: {
      values(p, shots, c) {
        const directions = (p.angles - 1) / p.directions;
        const noise = p.angles * p.nu / (2 * shots * c * c) / p.directions;
        return { error: directions + noise, directions, noise, damping: Math.exp(-p.kappa * c * c) };
      },
      height: (found) => Math.log10(found.error),
      edge: (p, shots) => Math.sqrt(p.angles * p.nu / (2 * shots * (p.angles - 1))),
    },
    // Chapter 8: SPSA and the shift rule with the same circuits.
    race: {
      values(p, shots, c) {
        const spsa = (p.angles - 1 + p.angles * p.nu / (2 * shots * c * c)) / p.directions;
        const shift = p.Vnu / shots;
        return { spsa, shift, ratio: spsa / shift };
      },
      height: (found) => Math.log10(found.ratio),
      edge: (p, shots) => Math.sqrt(p.angles * p.nu / (2 * (p.directions * p.Vnu - shots * (p.angles - 1)))),
    },
    // Chapter 20: updates and samples over those that a gradient without noise would take.
    batch: {
      values(p, batch, scale) {
        const updates = 1 + scale / batch;
        return { updates, samples: batch + scale, saved: 1 - (1 + scale / (2 * batch)) / updates, dearer: batch / (batch + scale) };
      },
      height: (found) => Math.log10(found.updates),
      edge: (p, batch) => batch,
    },
  };

  window.pageWidgets.plane = LAWS;

  // --- page ------------------------------------------------------------------------------

  const [LEFT, TOP, RIGHT, BOTTOM, COLUMNS, ROWS] = [58, 8, 396, 248, 44, 30];
  const SHADES = [[0, 34, 78], [124, 123, 120], [254, 232, 56]]; // cividis: keeps its order in grey

  function shade(part) {
    const place = Math.min(Math.max(part, 0), 1) * 2;
    const k = Math.min(Math.floor(place), 1);
    return `rgb(${SHADES[k].map((from, i) => Math.round(from + (place - k) * (SHADES[k + 1][i] - from))).join()})`;
  }

  // Between a value and its place on a logarithmic axis from `start` to `end`.
  function scaleOf({ low, high }, start, end) {
    const [a, b] = [Math.log10(low), Math.log10(high)];
    return {
      place: (value) => start + (end - start) * (Math.log10(value) - a) / (b - a),
      value: (place) => 10 ** Math.min(Math.max(a + (b - a) * (place - start) / (end - start), a), b),
    };
  }

  // A slider's value as it is shown and reckoned with: whole, or of two digits.
  const tidy = (axis, value) => (axis.whole ? Math.round(value) : Number(value.toPrecision(2)));

  function ground(law, p, x, y) {
    const [wide, high] = [(RIGHT - LEFT) / COLUMNS, (BOTTOM - TOP) / ROWS];
    const cells = [];
    for (let i = 0; i < COLUMNS; i += 1) {
      for (let j = 0; j < ROWS; j += 1) {
        const [left, top] = [LEFT + i * wide, TOP + j * high];
        cells.push({ left, top, height: law.height(law.values(p, x.value(left + wide / 2), y.value(top + high / 2))) });
      }
    }
    const heights = cells.map((cell) => cell.height);
    const [least, most] = [Math.min(...heights), Math.max(...heights)];
    return W.draw("g", { "shape-rendering": "crispEdges" }, cells.map(({ left, top, height }) => (
      W.draw("rect", { x: left, y: top, width: wide + 0.5, height: high + 0.5, fill: shade((height - least) / (most - least)) }))));
  }

  function edge(law, p, x, y) {
    const points = W.linear(LEFT, RIGHT, 120).map((place) => [place, y.place(law.edge(p, x.value(place)))]);
    const inside = points.filter(([, place]) => place >= TOP && place <= BOTTOM);
    const line = { points: inside.map((point) => point.map((part) => part.toFixed(1)).join()).join(" "), fill: "none" };
    return [W.draw("polyline", { ...line, stroke: "#000", "stroke-width": 4 }), W.draw("polyline", { ...line, stroke: "#fff", "stroke-width": 2 })];
  }

  function ticks(axes, x, y) {
    const across = axes.x.ticks.map((tick) => W.draw("text", { x: x.place(tick), y: BOTTOM + 16, "text-anchor": "middle" }, tick.toLocaleString("en-US")));
    const up = axes.y.ticks.map((tick) => W.draw("text", { x: LEFT - 5, y: y.place(tick) + 4, "text-anchor": "end" }, tick.toLocaleString("en-US")));
    const middle = (TOP + BOTTOM) / 2;
    return [...across, ...up,
      W.draw("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 34, "text-anchor": "middle" }, axes.x.label),
      W.draw("text", { x: 11, y: middle, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})` }, axes.y.label)];
  }

  function build(box, data) {
    const law = LAWS[data.law];
    const [x, y] = [scaleOf(data.x, LEFT, RIGHT), scaleOf(data.y, BOTTOM, TOP)];
    const slider = (axis, name) => W.slider(axis.label,
      { min: Math.log10(axis.low).toFixed(2), max: Math.log10(axis.high).toFixed(2), step: 0.01, value: Math.log10(axis.value) },
      `${box.id}-${name}`, (place) => tidy(axis, 10 ** place).toLocaleString("en-US"));
    const knobs = { x: slider(data.x, "x"), y: slider(data.y, "y") };
    const at = (name) => tidy(data[name], 10 ** knobs[name].querySelector("input").value);
    const mark = W.draw("circle", { r: 6, fill: "#fff", stroke: "#000", "stroke-width": 2.5 });
    const map = W.draw("svg", { viewBox: `0 0 420 ${BOTTOM + 42}`, role: "img", "aria-label": data.alt, class: "page-map" },
      ground(law, data.values, x, y), edge(law, data.values, x, y), ticks(data, x, y), mark);
    const list = W.make("dl", { class: "page-values", "aria-live": "polite" });
    box.prepend(W.make("div", { class: "page-controls" }, knobs.x, knobs.y), map, list, W.make("p", { class: "page-note" }, data.caption));

    function show() {
      const found = law.values(data.values, at("x"), at("y"));
      mark.setAttribute("cx", x.place(at("x")));
      mark.setAttribute("cy", y.place(at("y")));
      list.replaceChildren(...Object.entries(data.names).flatMap(([key, text]) => [
        W.make("dt", {}, text), W.make("dd", { "data-value": key }, W.twoDigits(found[key]))]));
    }

    function move(event) {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
      for (const [name, value] of [["x", x.value(place.x)], ["y", y.value(place.y)]]) {
        knobs[name].querySelector("input").value = Math.log10(value);
        knobs[name].tell();
      }
      show();
    }

    map.addEventListener("click", move);
    for (const knob of Object.values(knobs)) knob.querySelector("input").addEventListener("input", show);
    show();
  }

  W.start("plane", build);
})();
