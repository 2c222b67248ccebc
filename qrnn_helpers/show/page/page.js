// What the widgets of the book's pages share: elements, controls, numbers, and how a widget starts.
// Plain JavaScript, no kernel, no request: a widget computes from the JSON that stands beside it.
window.pageWidgets = window.pageWidgets || (function () {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  function filled(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children.flat());
    return element;
  }

  function make(tag, attributes, ...children) {
    return filled(document.createElement(tag), attributes, children);
  }

  function draw(tag, attributes, ...children) {
    return filled(document.createElementNS(SVG, tag), attributes, children);
  }

  // --- numbers ---------------------------------------------------------------------------

  // Two digits, in words from a million on, as `answer.count_text` writes them.
  function countText(count) {
    const rounded = Number(count.toPrecision(2));
    for (const [size, word] of [[1e9, "billion"], [1e6, "million"]]) {
      if (rounded >= size) return `${Number((rounded / size).toPrecision(6))} ${word}`;
    }
    return rounded < 10 ? String(rounded) : Math.round(rounded).toLocaleString("en-US");
  }

  function twoDigits(value) {
    return Math.abs(value) >= 10 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(2)));
  }

  function linear(low, high, count) {
    return Array.from({ length: count }, (_, k) => low + (high - low) * k / (count - 1));
  }

  // --- controls --------------------------------------------------------------------------

  function option([value, text]) {
    return make("option", { value }, text);
  }

  function field(text, control, id) {
    control.id = id;
    return make("div", { class: "page-field" }, make("label", { for: id }, text), control);
  }

  function choice(text, options, id) {
    return field(text, make("select", {}, options.map(option)), id);
  }

  function number(text, attributes, id) {
    return field(text, make("input", { type: "number", ...attributes }), id);
  }

  // A slider with what it stands at, in words: `say` of its value.
  function slider(text, attributes, id, say) {
    const range = make("input", { type: "range", ...attributes });
    const output = make("output", { for: id });
    const box = field(text, range, id);
    box.append(output);
    box.tell = (words) => {
      output.textContent = words || say(Number(range.value));
      range.setAttribute("aria-valuetext", output.textContent);
    };
    range.addEventListener("input", () => box.tell());
    box.tell();
    return box;
  }

  // --- start -----------------------------------------------------------------------------

  // Build the widgets of a kind that the page holds and that are not built yet. They are found by name,
  // since JupyterLab runs scripts without `document.currentScript`.
  function start(kind, build) {
    document.querySelectorAll(`[data-widget="${kind}"]:not([data-ready])`).forEach((box) => {
      const data = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
      box.setAttribute("data-ready", "");
      box.querySelector(".page-waiting").remove();
      build(box, data);
    });
  }

  return { make, draw, field, choice, number, slider, start, countText, twoDigits, linear };
})();
