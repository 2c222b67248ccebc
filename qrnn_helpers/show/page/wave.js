// The shift rule on one angle: the curve, the shifted points, and the slope that they give.
(function () {
  "use strict";
  const W = window.pageWidgets;

  // --- pure ------------------------------------------------------------------------------

  // A trigonometric polynomial: a constant, then a cosine and a sine for each frequency.
  const value = ([constant, ...parts], frequencies, angle) => constant + frequencies.reduce(
    (sum, w, k) => sum + parts[2 * k] * Math.cos(w * angle) + parts[2 * k + 1] * Math.sin(w * angle), 0);

  const slope = ([, ...parts], frequencies, angle) => frequencies.reduce(
    (sum, w, k) => sum - w * parts[2 * k] * Math.sin(w * angle) + w * parts[2 * k + 1] * Math.cos(w * angle), 0);

  // What two points at a distance give: exact for a wave of frequency 1, whatever the distance.
  const byTwo = (wave, angle, shift) => (
    (value(wave.fit, wave.frequencies, angle + shift) - value(wave.fit, wave.frequencies, angle - shift)) / (2 * Math.sin(shift)));

  // Variance of that slope, over the variance of one circuit's mean.
  const variance = (shift) => 1 / (2 * Math.sin(shift) ** 2);

  window.pageWidgets.wave = { value, slope, byTwo, variance };

  // --- page ------------------------------------------------------------------------------

  const [LEFT, TOP, RIGHT, BOTTOM] = [46, 10, 412, 220];
  const inPi = (part) => `${part.toFixed(2)} π`;

  function build(box, data) {
    const names = Object.keys(data.waves);
    const kind = W.choice("Gate", names.map((name) => [name, name]), `${box.id}-gate`);
    const angle = W.slider("Angle", { min: 0, max: 4, step: 0.02, value: 1.2 }, `${box.id}-angle`, inPi);
    const shift = W.slider("Shift", { min: 0.05, max: 0.95, step: 0.01, value: 0.5 }, `${box.id}-shift`, inPi);
    const number = (field) => Math.PI * Number(field.querySelector("input").value);
    const svg = W.draw("svg", { viewBox: `0 0 420 ${BOTTOM + 40}`, role: "img", "aria-label": data.alt });
    const list = W.make("dl", { class: "page-values", "aria-live": "polite" });
    box.prepend(W.make("div", { class: "page-controls" }, kind, angle, shift), svg, list, W.make("p", { class: "page-note" }, data.caption));

    function show() {
      const wave = data.waves[kind.querySelector("select").value];
      const [at, by] = [number(angle), number(shift)];
      const f = (x) => value(wave.fit, wave.frequencies, x);
      const grid = W.linear(-Math.PI, 5 * Math.PI, 240);
      const heights = grid.map(f);
      const [least, most] = [Math.min(...heights), Math.max(...heights)];
      const x = (a) => LEFT + (RIGHT - LEFT) * (a + Math.PI) / (6 * Math.PI);
      const y = (v) => BOTTOM - (BOTTOM - TOP) * (0.1 + 0.8 * (v - least) / (most - least));
      const line = (from, to, look) => W.draw("line", { x1: x(from[0]), y1: y(from[1]), x2: x(to[0]), y2: y(to[1]), stroke: "currentColor", ...look });
      const tangent = (rise, look) => line([at - 1, f(at) - rise], [at + 1, f(at) + rise], look);
      const points = [at - by, at + by].map((a) => W.draw("circle", { cx: x(a), cy: y(f(a)), r: 5, fill: "currentColor" }));
      const rule = byTwo(wave, at, by);
      const true_ = slope(wave.fit, wave.frequencies, at);
      svg.replaceChildren(
        W.draw("polyline", { points: grid.map((a, k) => `${x(a).toFixed(1)},${y(heights[k]).toFixed(1)}`).join(" "), fill: "none", stroke: "currentColor", "stroke-opacity": 0.5, "stroke-width": 2 }),
        tangent(true_, { "stroke-width": 5, "stroke-opacity": 0.35 }),
        tangent(rule, { "stroke-width": 2, "stroke-dasharray": "5 3" }),
        ...points,
        W.draw("circle", { cx: x(at), cy: y(f(at)), r: 5, fill: "none", stroke: "currentColor", "stroke-width": 2 }),
        ...[0, 1, 2, 3, 4].map((k) => W.draw("text", { x: x(k * Math.PI), y: BOTTOM + 16, "text-anchor": "middle" }, k ? `${k === 1 ? "" : k}π` : "0")),
        W.draw("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 34, "text-anchor": "middle" }, "angle"));
      const rows = { slope: ["slope, exactly", true_], rule: ["slope from the two points", rule], variance: ["its variance, in σ²/N", variance(by)] };
      list.replaceChildren(...Object.entries(rows).flatMap(([key, [text, found]]) => [
        W.make("dt", {}, text), W.make("dd", { "data-value": key }, String(Number(found.toPrecision(3))))]));
    }

    for (const field of [kind, angle, shift]) field.querySelector("select, input").addEventListener("input", show);
    show();
  }

  W.start("wave", build);
})();
