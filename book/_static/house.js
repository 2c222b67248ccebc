// A formula in a line that is longer than the line stands alone and scrolls.
function fold() {
  for (const formula of document.querySelectorAll(".bd-article mjx-container:not([display])")) {
    formula.classList.remove("too-long");
    const line = formula.closest("p, li, td, dd, figcaption") || formula.parentElement;
    if (formula.getBoundingClientRect().width > line.clientWidth) formula.classList.add("too-long");
  }
}

// What scrolls sideways can be scrolled by keyboard, too.
function reachable() {
  for (const box of document.querySelectorAll(".bd-article :is(table, pre, div.math, div, .too-long)")) {
    if (box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX)) box.tabIndex = 0;
  }
}

function fit() {
  fold();
  reachable();
}
window.addEventListener("load", () => { window.MathJax?.startup?.promise?.then(fit) ?? fit(); });
window.addEventListener("resize", fit);
