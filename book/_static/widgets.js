// Loaded before RequireJS, and only on pages that show saved widgets.
// The widget manager looks for its fonts beside itself: say where that is.
window.require = {
  paths: {
    "@jupyter-widgets/html-manager":
      document.documentElement.dataset.content_root + "_static/vendor/html-manager",
  },
};
// It speaks to MathJax 2; pass its one wish on to MathJax 3, where a page has it.
window.addEventListener("load", function () {
  if (window.MathJax && !MathJax.Hub) {
    MathJax.Hub = { Queue: function (call) { MathJax.typesetPromise([call[2]]); } };
  }
});
