// The decision page: what each method is expected to reach for a budget, from stored trainings.
// The same computation as `qrnn_helpers.study.decision.offers`; a test compares the two.
(function () {
  "use strict";
  const W = window.pageWidgets;
  const SPENT = ["money", "seconds", "shots", "circuits", "updates"];
  const SAME = 1 + 1e-9; // an amount that is a training's own cost, up to rounding

  // --- pure ------------------------------------------------------------------------------

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  // Geometric mean and its t interval, from logarithms; `quantile` is that of t for so many seeds.
  function estimate(logs, quantile) {
    const middle = mean(logs);
    const squares = logs.reduce((sum, value) => sum + (value - middle) ** 2, 0);
    const half = quantile * Math.sqrt(squares / (logs.length - 1) / logs.length);
    return { value: Math.exp(middle), low: Math.exp(middle - half), high: Math.exp(middle + half) };
  }

  // Trainings in order of what they cost, without those that a cheaper one undercuts.
  function front(rungs, axis) {
    let least = Infinity;
    return [...rungs].sort((a, b) => a[axis] - b[axis]).filter((rung) => {
      const better = mean(rung.logs) < least;
      least = Math.min(least, mean(rung.logs));
      return better;
    });
  }

  // What an amount buys on a front, interpolated in logarithms; null below its first training.
  function bought(rungs, axis, amount) {
    if (!rungs.length || amount * SAME < rungs[0][axis]) return null;
    let k = rungs.length - 1;
    while (rungs[k][axis] > amount * SAME) k -= 1;
    const below = rungs[k];
    const above = rungs[Math.min(k + 1, rungs.length - 1)];
    const apart = above === below ? 1 : Math.log(above[axis] / below[axis]);
    const part = above === below ? 0 : Math.max(0, Math.log(amount / below[axis]) / apart);
    const between = (x, y) => (1 - part) * x + part * y;
    const spent = {};
    for (const name of SPENT) {
      spent[name] = below[name] === null ? null : Math.exp(between(Math.log(below[name]), Math.log(above[name])));
    }
    const logs = below.logs.map((value, seed) => between(value, above.logs[seed]));
    const ended = above === below && amount > below[axis] * SAME;
    return { ...spent, logs, below, above: part > 1e-6 ? above : below, ended };
  }

  // A method's best for an amount: on its ladder, or one of its other trainings as it is;
  // with `shots`, only from trainings with so many shots a circuit.
  function offer(rungs, axis, amount, shots) {
    if (shots) return bought(front(rungs.filter((rung) => rung.shots_each === shots), axis), axis, amount);
    const ladder = front(rungs.filter((rung) => rung.ladder), axis);
    const alone = rungs.filter((rung) => !rung.ladder).map((rung) => [rung]);
    const found = [ladder, ...alone].map((few) => bought(few, axis, amount)).filter(Boolean);
    return found.sort((a, b) => mean(a.logs) - mean(b.logs))[0] || null;
  }

  // All methods for an amount, the best first, each with its ratio to the best; then those not measured.
  function offers(rungs, arms, axis, amount, shots, quantile) {
    const rows = [], missing = [];
    for (const arm of arms) {
      const own = rungs.filter((rung) => rung.arm === arm);
      const asked = shots ? own.filter((rung) => rung.shots_each === shots) : own;
      const found = offer(own, axis, amount, shots);
      if (found) rows.push({ arm, ...found });
      else missing.push({ arm, from: asked.length ? Math.min(...asked.map((rung) => rung[axis])) : null });
    }
    rows.sort((a, b) => mean(a.logs) - mean(b.logs));
    for (const row of rows) {
      row.error = estimate(row.logs, quantile);
      row.times = estimate(row.logs.map((value, seed) => value - rows[0].logs[seed]), quantile);
    }
    return { rows, missing };
  }

  // Trainings of a problem with what each costs on a machine.
  function priced(problem, machine) {
    return problem.rungs.map((rung) => ({
      ...rung,
      logs: rung.errors.map(Math.log),
      money: rung.money[machine],
      seconds: rung.seconds[machine],
    }));
  }

  const fixed = (value) => value.toFixed(2);
  const estimateText = ({ value, low, high }) => `${fixed(value)} (${fixed(low)} to ${fixed(high)})`;
  const hoursText = (seconds) => (seconds === null ? "not known" : W.twoDigits(seconds / 3600));
  const UNITS = {
    money: { name: "money, USD", axis: "money", scale: 1, text: (x) => `${W.countText(x)} USD` },
    hours: { name: "hours on the device", axis: "seconds", scale: 3600, text: (x) => `${W.twoDigits(x)} hours` },
    shots: { name: "shots", axis: "shots", scale: 1, text: (x) => `${W.countText(x)} shots` },
  };

  window.pageWidgets.decision = { estimate, front, bought, offer, offers, priced, estimateText };

  // --- page ------------------------------------------------------------------------------

  function settingText(row, arm) {
    const { below } = row;
    const size = { shift: "all angles", coordinates: `${below.size} coordinates`, uniform: `${below.size} coordinates` };
    const parts = [`rate ${below.rate}`, `batch ${below.batch}`, `${below.shots_each.toLocaleString("en-US")} shots a circuit`];
    parts.push(size[arm] || `${below.size} direction${below.size === 1 ? "" : "s"}`);
    if (below.c) parts.push(`c ${below.c}`);
    return parts.join(", ");
  }

  function fromText(row) {
    const ends = row.above === row.below ? row.below.name : `between ${row.below.name} and ${row.above.name}`;
    return row.ended ? `${ends}; nothing larger is measured` : ends;
  }

  function cells(row, names) {
    return [
      ["method", names[row.arm]],
      ["expected test error", (row.ended ? "at most " : "") + estimateText(row.error)],
      ["times the best", row.times.high === row.times.low ? "1" : estimateText(row.times)],
      ["shots", W.countText(row.shots)],
      ["circuits", W.countText(row.circuits)],
      ["hours", hoursText(row.seconds)],
      ["USD", row.money === null ? "not known" : W.countText(row.money)],
      ["setting", settingText(row, row.arm)],
      ["training", fromText(row)],
    ];
  }

  // Roles are written out: where a telephone stacks the cells, browsers forget that it is a table.
  function table(rows, names) {
    const heads = rows.length ? cells(rows[0], names).map(([head]) => head) : [];
    const line = (row) => W.make("tr", { role: "row" }, cells(row, names).map(([head, text], k) => (
      W.make(k ? "td" : "th", { role: k ? "cell" : "rowheader", "data-label": head, ...(k ? {} : { scope: "row" }) }, text)
    )));
    return W.make("table", { role: "table" },
      W.make("caption", {}, "By method, the smallest expected error first. Errors are test NRMSE; 1 is a constant forecast."),
      W.make("thead", { role: "rowgroup" }, W.make("tr", { role: "row" },
        heads.map((head) => W.make("th", { role: "columnheader", scope: "col" }, head)))),
      W.make("tbody", { role: "rowgroup" }, rows.map(line)));
  }

  // Errors with their intervals, and grey lines for what needs no circuit.
  function picture(rows, names, others) {
    const left = 6, right = 410, step = 34, top = 4;
    const bottom = top + step * rows.length;
    const most = Math.max(1.05, ...rows.map((row) => row.error.high));
    const x = (error) => left + (right - left) * error / most;
    const svg = W.draw("svg", { viewBox: `0 0 420 ${bottom + 40}`, role: "img",
      "aria-label": "Expected errors with intervals; the same numbers stand in the table below." });
    const rule = { y1: top, y2: bottom, stroke: "currentColor", "stroke-opacity": 0.5, "stroke-dasharray": "4 3" };
    for (const error of Object.values(others)) svg.append(W.draw("line", { x1: x(error), x2: x(error), ...rule }));
    rows.forEach((row, k) => {
      const y = top + step * (k + 0.75);
      svg.append(
        W.draw("text", { x: left, y: y - 10 }, names[row.arm]),
        W.draw("line", { x1: x(row.error.low), x2: x(row.error.high), y1: y, y2: y, stroke: "currentColor", "stroke-width": 3 }),
        W.draw("circle", { cx: x(row.error.value), cy: y, r: 4, fill: "currentColor" }));
    });
    svg.append(W.draw("line", { x1: left, x2: right, y1: bottom, y2: bottom, stroke: "currentColor" }));
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(W.draw("text", { x: x(tick), y: bottom + 17, "text-anchor": "middle" }, String(tick)));
    }
    svg.append(W.draw("text", { x: (left + right) / 2, y: bottom + 35, "text-anchor": "middle" }, "expected test error"));
    return svg;
  }

  function build(box, data) {
    const key = box.id;
    const machines = data.machines.map((machine, k) => [k, machine.label]);
    const fields = {
      machine: W.choice("Machine", machines, `${key}-machine`),
      unit: W.choice("Budget in", Object.entries(UNITS).map(([unit, { name }]) => [unit, name]), `${key}-unit`),
      amount: W.number("Budget", { min: 0, step: "any" }, `${key}-amount`),
      shots: W.choice("Shots a circuit", [["", "best measured"], ...data.shots.map((n) => [n, n.toLocaleString("en-US")])], `${key}-shots`),
      variant: W.choice("What is learnt", Object.keys(data.variants).map((name) => [name, name]), `${key}-variant`),
      qubits: W.number("Qubits", { min: 2, max: 12, step: 2, value: 4 }, `${key}-qubits`),
      steps: W.number("Steps", { min: 1, max: 64, step: 1, value: 8 }, `${key}-steps`),
    };
    const control = (name) => fields[name].querySelector("select, input");
    const unit = () => UNITS[control("unit").value];
    const range = W.slider("Budget by slider", { step: 0.01 }, `${key}-range`, (x) => unit().text(10 ** x));
    const angles = W.make("p", { class: "page-note", "data-part": "angles" });
    const answer = W.make("p", { class: "page-answer", "data-part": "answer", role: "status", "aria-live": "polite" });
    const chart = W.make("div", {});
    const result = W.make("div", { "data-part": "table" });
    const notes = W.make("div", { class: "page-note", "data-part": "notes" });
    const order = ["machine", "unit", "amount"].map((name) => fields[name]);
    box.prepend(
      W.make("div", { class: "page-controls" }, order, range, ["shots", "variant", "qubits", "steps"].map((name) => fields[name])),
      angles, answer, chart, result, notes);

    // The problem that is asked for, as far as it is known.
    function asked() {
      const variant = data.variants[control("variant").value];
      const [qubits, steps] = [Number(control("qubits").value), Number(control("steps").value)];
      const each = variant.angles[qubits];
      const problem = variant.problems.find((its) => its.qubits === qubits && its.steps === steps);
      return { variant, each, angles: each * steps, problem, qubits, steps };
    }

    function measuredText({ variant, qubits, steps }) {
      const cells = variant.problems.map((its) => `${its.qubits} qubits, ${its.steps} steps`).join("; ");
      return `Not measured: ${control("variant").value} with ${qubits} qubits and ${steps} steps. Measured: ${cells || "nothing yet"}.`;
    }

    // The slider's ends: half of the cheapest training, and twice the dearest.
    function rescale() {
      const { problem } = asked();
      const machine = Number(control("machine").value);
      const costs = priced(problem || data.variants[data.first].problems[0], machine).map((rung) => rung[unit().axis] / unit().scale);
      const known = costs.filter((cost) => cost > 0);
      const slider = range.querySelector("input");
      if (!known.length) return;
      slider.min = Math.log10(Math.min(...known) / 2).toFixed(2);
      slider.max = Math.log10(Math.max(...known) * 2).toFixed(2);
      const amount = Number(control("amount").value);
      if (!(amount >= 10 ** slider.min && amount <= 10 ** slider.max)) {
        control("amount").value = Number(Math.exp(mean(known.map(Math.log))).toPrecision(1));
      }
      follow();
    }

    // The slider stands where the number says.
    function follow() {
      const amount = Number(control("amount").value);
      if (amount > 0) range.querySelector("input").value = Math.log10(amount);
      range.tell(unit().text(amount));
    }

    function sentence(rows, machine) {
      const [best, next] = rows;
      const text = `For ${unit().text(Number(control("amount").value))} on ${machine.label}: ${data.names[best.arm]}, `
        + `expected test error ${best.ended ? "at most " : ""}${estimateText(best.error)}.`;
      if (!next) return text;
      const apart = next.times.low > 1 ? "" : ", so that the two are not told apart";
      return `${text} Next comes ${data.names[next.arm]}, with ${estimateText(next.times)} times that error${apart}.`;
    }

    function missingText(missing) {
      return missing.map(({ arm, from }) => (from === null
        ? `${data.names[arm]}: not measured with these shots a circuit.`
        : `${data.names[arm]}: not measured below ${unit().text(from / unit().scale)}.`));
    }

    function show() {
      const its = asked();
      const machine = data.machines[Number(control("machine").value)];
      angles.textContent = its.each
        ? `${its.angles.toLocaleString("en-US")} angles a window: ${its.each} a step, ${its.steps} steps.`
        : `An even number of qubits from 2 to 12, half of them memory and half readout, has a circuit here.`;
      chart.replaceChildren();
      result.replaceChildren();
      notes.replaceChildren(W.make("p", {}, machine.text));
      if (!its.problem) {
        answer.textContent = measuredText(its);
        return;
      }
      if (unit().axis === "seconds" && !machine.timed) {
        answer.textContent = `Not known: the price list of ${machine.label} does not tell its times.`;
        return;
      }
      const amount = Number(control("amount").value) * unit().scale;
      const rungs = priced(its.problem, Number(control("machine").value));
      const arms = Object.keys(data.names).filter((arm) => rungs.some((rung) => rung.arm === arm));
      const found = offers(rungs, arms, unit().axis, amount, Number(control("shots").value), its.problem.quantile);
      answer.textContent = found.rows.length ? sentence(found.rows, machine) : "Not measured for this budget.";
      if (found.rows.length) {
        chart.append(picture(found.rows, data.names, its.problem.others));
        result.append(table(found.rows, data.names));
      }
      const others = Object.entries(its.problem.others).map(([name, error]) => `${name} ${fixed(error)}`).join(", ");
      const lines = [...missingText(found.missing), its.problem.note, others && `Without a circuit, grey in the picture: ${others}.`];
      notes.prepend(...lines.filter(Boolean).map((line) => W.make("p", {}, line)));
    }

    range.querySelector("input").addEventListener("input", (event) => {
      control("amount").value = Number((10 ** event.target.value).toPrecision(2));
      range.tell(unit().text(Number(control("amount").value)));
      show();
    });
    for (const name of ["machine", "unit", "variant", "qubits", "steps", "shots", "amount"]) {
      control(name).addEventListener("input", () => {
        if (name === "amount") follow();
        else if (name !== "shots") rescale();
        show();
      });
    }
    rescale();
    show();
  }

  W.start("decision", build);
})();
