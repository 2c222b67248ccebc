// What scrolls sideways can be scrolled by keyboard, too.
function reachable() {
  for (const box of document.querySelectorAll(".bd-article :is(table, pre, div.math, div)")) {
    if (box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX)) box.tabIndex = 0;
  }
}
window.addEventListener("load", reachable);
window.addEventListener("resize", reachable);
