// The search of `localstore export --format site`: it needs no server, only the file search.js.
"use strict";
(() => {
  const box = document.getElementById("q");
  if (!box) return;
  const results = document.getElementById("results");
  const found = document.getElementById("found");
  const sessions = window.localstoreSessions ?? [];
  const MOST = 100;
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

  function snippet(text, word) {
    const at = Math.max(0, plain(text).indexOf(word));
    const start = Math.max(0, at - 50);
    const line = document.createElement("span");
    const end = at + word.length;
    const mark = document.createElement("mark");
    mark.textContent = text.slice(at, end);
    line.append(start ? "…" : "", text.slice(start, at), mark, text.slice(end, end + 110));
    return line;
  }

  function link(address, text) {
    const made = document.createElement("a");
    made.href = address;
    made.textContent = text;
    return made;
  }

  function show() {
    const words = plain(box.value).split(/\s+/).filter(Boolean);
    results.hidden = words.length > 0;
    found.replaceChildren();
    if (!words.length) return;
    const has = (text) => words.every((word) => text.includes(word));
    const list = document.createElement("ol");
    list.className = "hits";
    let hits = 0;
    for (const session of sessions) {
      const runs = session.runs.filter(([, text]) => has(plain(text))).slice(0, 5);
      if (!runs.length && !has(plain(session.names))) continue;
      hits += 1;
      if (hits > MOST) continue;
      const item = document.createElement("li");
      const title = link(session.file, session.title);
      title.className = "open";
      const inner = document.createElement("ul");
      for (const [anchor, text] of runs) {
        const line = document.createElement("li");
        line.append(link(`${session.file}#${anchor}`, "Run"), " ", snippet(text, words[0]));
        inner.append(line);
      }
      item.append(title, inner);
      list.append(item);
    }
    const total = document.createElement("p");
    total.className = "total";
    total.textContent = hits === 1 ? "1 session" : `${hits} sessions${hits > MOST ? `, the first ${MOST} of them` : ""}`;
    found.append(total, list);
  }

  function fromAddress() {
    const asked = new URLSearchParams(location.hash.slice(1)).get("q");
    if (asked !== null) { box.value = asked; show(); }
  }

  box.addEventListener("input", show);
  addEventListener("hashchange", fromAddress);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== box) { event.preventDefault(); box.focus(); }
  });
  fromAddress();
})();
