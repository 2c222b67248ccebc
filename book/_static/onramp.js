// Two explorers for the pages that lead into the book: two qubits, and a network of two weights.
// No library and no kernel.  Each is a function of its knobs and is drawn anew when one moves.
(function () {
  "use strict";
  const { cos, sin, exp, log, sqrt, PI } = Math;

  // ---------------------------------------------------------------- parts of a page

  function make(parent, tag, attributes = {}, text = "") {
    const svg = parent.namespaceURI.endsWith("svg") || tag === "svg";
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    parent.append(element);
    return element;
  }

  function knob(parent, name, label, range, value, say, moved) {
    const row = make(parent, "div", { class: "knob" });
    make(row, "label", { for: name }, label);
    const input = make(row, "input", { id: name, type: "range", ...range, value });
    const told = make(row, "output", { for: name });
    const tell = () => { told.textContent = say(+input.value); input.setAttribute("aria-valuetext", told.textContent); };
    input.addEventListener("input", () => { tell(); moved(); });
    tell();
    return () => +input.value;
  }

  function table(parent, caption, names) {
    const body = make(parent, "table", { class: "values" });
    make(body, "caption", {}, caption);
    const cells = {};
    for (const [key, name] of Object.entries(names)) {
      const row = make(body, "tr");
      make(row, "th", { scope: "row" }, name);
      cells[key] = make(row, "td", { "data-value": key });
    }
    return (values) => { for (const key in cells) cells[key].textContent = Math.abs(values[key]) < 1e4 ? values[key].toFixed(3) : "lost"; };
  }

  function picture(parent, width, height) {
    const svg = make(parent, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", style: `max-width: ${width}px` });
    return (label, draw) => { svg.replaceChildren(); svg.setAttribute("aria-label", label); draw(svg); };
  }

  // ---------------------------------------------------------------- two qubits

  // One time step.  The memory's Bloch vector is turned by RY and RZ; then the readout, fresh in 0, is turned
  // by RY if the memory is 1, measured and reset.  Looking keeps z and shrinks x and y.
  function timeStep([x, y, z], turn, phase, look) {
    const x1 = x * cos(turn) + z * sin(turn);
    const z1 = z * cos(turn) - x * sin(turn);
    const x2 = x1 * cos(phase) - y * sin(phase);
    const y2 = x1 * sin(phase) + y * cos(phase);
    const kept = cos(look / 2), seen = sin(look / 2) ** 2;
    const [zero, one] = [(1 + z1) / 2, (1 - z1) / 2];
    return { memory: [kept * x2, kept * y2, z1], joint: [zero, 0, one * (1 - seen), one * seen] };
  }

  function twoQubits(root) {
    const degrees = (v) => `${v}°`;
    const knobs = make(root, "div", { class: "knobs" });
    const angle = { min: -180, max: 180, step: 5 };
    const turn = knob(knobs, "q-turn", "Turn of the memory, RY", angle, 60, degrees, show);
    const phase = knob(knobs, "q-phase", "Phase of the memory, RZ", angle, 0, degrees, show);
    const look = knob(knobs, "q-look", "Look: RY on the readout if the memory is 1", { ...angle, min: 0 }, 90, degrees, show);
    const count = knob(knobs, "q-steps", "Time steps", { min: 0, max: 12, step: 1 }, 1, String, show);
    const views = make(root, "div", { class: "views" });
    const side = picture(views, 200, 225), above = picture(views, 200, 225), bars = picture(views, 300, 225);
    const tell = table(root, "After the last step", {
      one: "readout measured as 1", p00: "memory 0, readout 0", p10: "memory 1, readout 0", p11: "memory 1, readout 1",
      x: "memory, Bloch x", y: "memory, Bloch y", z: "memory, Bloch z", length: "length of the Bloch vector" });

    function show() {
      const radians = [turn, phase, look].map((value) => (value() * PI) / 180);
      const path = [[0, 0, 1]], ones = [];
      let joint = [1, 0, 0, 0];
      for (let t = 0; t < count(); t++) {
        const next = timeStep(path[t], ...radians);
        path.push(next.memory);
        joint = next.joint;
        ones.push(joint[3]);
      }
      const [x, y, z] = path.at(-1);
      const values = { one: joint[3], p00: joint[0], p10: joint[2], p11: joint[3], x, y, z, length: Math.hypot(x, y, z) };
      tell(values);
      disc(side, "from the side", path.map(([x, , z]) => [x, z]), ["x", "z"]);
      disc(above, "from above", path.map(([x, y]) => [x, y]), ["x", "y"]);
      chart(ones);
    }

    function disc(view, where, points, [right, up]) {
      const at = ([a, b]) => [100 + 80 * a, 110 - 80 * b];
      const [a, b] = points.at(-1);
      view(`The memory's Bloch vector ${where}: ${right} ${a.toFixed(2)}, ${up} ${b.toFixed(2)}`, (svg) => {
        make(svg, "circle", { cx: 100, cy: 110, r: 80, class: "faint" });
        make(svg, "line", { x1: 20, y1: 110, x2: 180, y2: 110, class: "faint" });
        make(svg, "line", { x1: 100, y1: 30, x2: 100, y2: 190, class: "faint" });
        make(svg, "text", { x: 184, y: 114 }, right);
        make(svg, "text", { x: 96, y: 22 }, up);
        make(svg, "text", { x: 100, y: 218, "text-anchor": "middle" }, where);
        for (const point of points) make(svg, "circle", { cx: at(point)[0], cy: at(point)[1], r: 3, class: "dot" });
        make(svg, "line", { x1: 100, y1: 110, x2: at([a, b])[0], y2: at([a, b])[1], class: "arrow" });
        make(svg, "circle", { cx: at([a, b])[0], cy: at([a, b])[1], r: 5, class: "tip" });
      });
    }

    function chart(ones) {
      const said = ones.map((p) => p.toFixed(2)).join(", ") || "no step yet";
      bars(`Probability that the readout is measured as 1, step by step: ${said}`, (svg) => {
        make(svg, "line", { x1: 30, y1: 190, x2: 290, y2: 190, class: "faint" });
        make(svg, "line", { x1: 30, y1: 30, x2: 290, y2: 30, class: "faint" });
        make(svg, "text", { x: 14, y: 34 }, "1");
        make(svg, "text", { x: 14, y: 194 }, "0");
        make(svg, "text", { x: 160, y: 218, "text-anchor": "middle" }, "probability of a 1, by time step");
        ones.forEach((p, t) =>
          make(svg, "rect", { x: 36 + 21 * t, y: 190 - 160 * p, width: 14, height: 160 * p, class: "bar" }));
      });
    }
    show();
  }

  // ---------------------------------------------------------------- a network of two weights

  // Random numbers that are the same on every machine (mulberry32), and normal ones from pairs of them.
  function generator(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }
  const normal = (random) => sqrt(-2 * log(1 - random())) * cos(2 * PI * random());

  const STEPS = 8, SEQUENCES = 8, BATCH = 2, TRUTH = [0.7, 1.0], START = [0.1, 0.3];

  // The state of each step, h = w h + v x, from zero.
  function states([w, v], inputs) {
    let h = 0;
    return inputs.map((x) => (h = w * h + v * x));
  }

  function series(seed) {
    const random = generator(seed);
    return Array.from({ length: SEQUENCES }, () => {
      const inputs = Array.from({ length: STEPS }, () => 2 * random() - 1);
      return { inputs, wanted: states(TRUTH, inputs).map((h) => h + 0.1 * normal(random)) };
    });
  }

  function loss(weights, data) {
    const errors = data.flatMap(({ inputs, wanted }) => states(weights, inputs).map((h, t) => (h - wanted[t]) ** 2));
    return errors.reduce((sum, e) => sum + e) / errors.length;
  }

  // Backpropagation through time: what an error at step t tells h is handed to step t - 1, times w.
  function gradient([w, v], data) {
    const g = [0, 0], count = data.length * STEPS;
    for (const { inputs, wanted } of data) {
      const h = states([w, v], inputs);
      let blame = 0;
      for (let t = STEPS - 1; t >= 0; t--) {
        blame = w * blame + (2 * (h[t] - wanted[t])) / count;
        g[0] += blame * (t ? h[t - 1] : 0);
        g[1] += blame * inputs[t];
      }
    }
    return g;
  }

  const optimisers = {
    descent: (rate) => (weights, g) => weights.map((weight, i) => weight - rate * g[i]),
    adam(rate) {
      const mean = [0, 0], square = [0, 0];
      let n = 0;
      return (weights, g) => {
        n += 1;
        return weights.map((weight, i) => {
          mean[i] = 0.9 * mean[i] + 0.1 * g[i];
          square[i] = 0.999 * square[i] + 0.001 * g[i] ** 2;
          return weight - (rate * (mean[i] / (1 - 0.9 ** n))) / (sqrt(square[i] / (1 - 0.999 ** n)) + 1e-8);
        });
      };
    },
  };

  function train(kind, rate, noise, epochs) {
    const training = series(1);
    const validation = series(2);
    const random = generator(3);
    const update = optimisers[kind](rate);
    let weights = START;
    const curve = [[loss(weights, training), loss(weights, validation)]];
    for (let epoch = 0; epoch < epochs; epoch++) {
      for (let first = 0; first < SEQUENCES; first += BATCH) {
        const g = gradient(weights, training.slice(first, first + BATCH));
        weights = update(weights, g.map((slope) => slope + noise * normal(random)));
      }
      curve.push([loss(weights, training), loss(weights, validation)]);
    }
    return { weights, curve };
  }

  function twoWeights(root) {
    const knobs = make(root, "div", { class: "knobs" });
    const row = make(knobs, "div", { class: "knob" });
    make(row, "label", { for: "n-kind" }, "Optimiser");
    const kind = make(row, "select", { id: "n-kind" });
    make(kind, "option", { value: "descent" }, "plain gradient descent");
    make(kind, "option", { value: "adam" }, "Adam");
    kind.addEventListener("change", show);
    const rate = (k) => 10 ** (k / 4);
    const power = knob(knobs, "n-rate", "Learning rate", { min: -12, max: 4, step: 1 }, -4, (k) => rate(k).toPrecision(2), show);
    const noise = knob(knobs, "n-noise", "Noise of each slope", { min: 0, max: 2, step: 0.1 }, 0, (s) => s.toFixed(1), show);
    const epochs = knob(knobs, "n-epochs", "Epochs", { min: 1, max: 60, step: 1 }, 30, String, show);
    const view = picture(make(root, "div", { class: "views" }), 520, 240);
    const tell = table(root, "After the last epoch", {
      training: "loss on the training part", validation: "loss on the validation part",
      w: "recurrent weight w (0.7 made the data)", v: "input weight v (1.0 made the data)" });

    function show() {
      const { weights, curve } = train(kind.value, rate(power()), noise(), epochs());
      const [training, validation] = curve.at(-1);
      tell({ training, validation, w: weights[0], v: weights[1] });
      const shown = (value) => Math.min(Math.max(value || Infinity, 1e-3), 10);
      const at = (value, i) => `${50 + (450 * i) / epochs()},${105 - 45 * Math.log10(shown(value))}`;
      view(`Loss after each epoch: training ends at ${training.toPrecision(2)}, validation at ${validation.toPrecision(2)}`, (svg) => {
        for (const [value, name] of [[10, "10"], [1, "1"], [0.1, "0.1"], [0.01, "0.01"]]) {
          const y = 105 - 45 * Math.log10(value);
          make(svg, "line", { x1: 50, y1: y, x2: 500, y2: y, class: "faint" });
          make(svg, "text", { x: 44, y: y + 4, "text-anchor": "end" }, name);
        }
        make(svg, "text", { x: 275, y: 230, "text-anchor": "middle" }, "epoch: loss on training part (solid), on validation part (dashed)");
        make(svg, "polyline", { points: curve.map((pair, i) => at(pair[0], i)).join(" "), class: "line" });
        make(svg, "polyline", { points: curve.map((pair, i) => at(pair[1], i)).join(" "), class: "line dashed" });
      });
    }
    show();
  }

  const explorers = { "two-qubits": twoQubits, "two-weights": twoWeights };
  for (const root of document.querySelectorAll("[data-explorer]")) explorers[root.dataset.explorer]?.(root);
})();
