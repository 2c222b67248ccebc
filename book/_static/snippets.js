// Beside each result of the search: the first place where a word of the query stands, in the section found if it is there.
const AROUND = 120; // characters on each side

function places(link) {
  const { pathname, hash } = new URL(link.href);
  const root = new URL(document.documentElement.dataset.content_root, location.href).pathname;
  const found = searchText[decodeURIComponent(pathname.slice(root.length).replace(/\.html$/, ""))] ?? [];
  const here = found.filter(([anchor]) => `#${anchor}` === hash);
  return [...here, ...found].map(([, text]) => text);
}

function snippet(texts, words) {
  for (const text of texts) {
    const at = words.map((word) => text.toLowerCase().indexOf(word)).filter((k) => k >= 0);
    if (!at.length) continue;
    const from = Math.max(0, Math.min(...at) - AROUND), to = Math.min(...at) + AROUND;
    return (from ? "…" : "") + text.slice(from, to).trim() + (to < text.length ? "…" : "");
  }
  const [first = ""] = texts;
  return first.slice(0, 2 * AROUND) + (first.length > 2 * AROUND ? "…" : "");
}

function describe(item, words) {
  const text = snippet(places(item.querySelector("a")), words);
  if (!text) return;
  const shown = item.appendChild(document.createElement("p"));
  shown.className = "context";
  shown.textContent = text;
}

document.addEventListener("DOMContentLoaded", () => {
  const query = new URLSearchParams(location.search).get("q") ?? "";
  const stemmer = new Stemmer();
  const words = splitQuery(query.toLowerCase()).map((word) => stemmer.stemWord(word));
  const found = new MutationObserver((changes) => {
    for (const node of changes.flatMap((change) => [...change.addedNodes])) {
      if (node.nodeName === "LI") describe(node, words);
    }
  });
  found.observe(document.getElementById("search-results"), { childList: true, subtree: true });
});
