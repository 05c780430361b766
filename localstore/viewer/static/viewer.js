// What the pages of `localstore serve` do in the browser beyond plain forms and htmx: keys, live updates, copying.
"use strict";
(() => {
  const $ = (selector, of = document) => of.querySelector(selector);
  const all = (selector, of = document) => [...of.querySelectorAll(selector)];

  // Copy buttons

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      prompt("Copy this:", button.dataset.copy); // without the right to use the clipboard
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  });

  // Keys

  const items = () => all("tr.session, .hits > li.session, #history > .run[id]");
  let at = -1;

  function select(index) {
    const found = items();
    if (!found.length) return;
    at = Math.max(0, Math.min(found.length - 1, index));
    all(".at").forEach((one) => one.classList.remove("at"));
    const chosen = found[at];
    chosen.classList.add("at");
    const link = chosen.matches(".run") ? $(".facts > a", chosen) : $("a.open", chosen);
    link?.focus({ preventScroll: true });
    chosen.scrollIntoView({ block: "nearest" });
    if (chosen.matches(".run")) mark(chosen.id);
  }

  function current() {
    const found = items();
    const focused = found.findIndex((one) => one.contains(document.activeElement));
    if (focused >= 0) at = focused;
    else if (at < 0 && location.hash) at = found.findIndex((one) => `#${one.id}` === location.hash);
    return found[at];
  }

  const keys = {
    "/": () => { const box = $("#q"); if (box) { box.focus(); box.select(); } else location.href = $(".brand").href; },
    j: () => { current(); select(at + 1); },
    k: () => { current(); select(at - 1); },
    g: () => select(0),
    G: () => select(Infinity),
    u: () => { location.href = $(".brand").href; },
    "?": () => $("#keys")?.showModal(),
    r: () => {
      const form = $(".rate", current() ?? document.createElement("p"));
      if (form) { form.open = true; $("input:not([type=hidden])", form).focus(); }
    },
    Enter: (event) => {
      const chosen = current();
      if (!chosen?.matches(".run") || event.target.matches("summary, button, input, a:not(.facts > a)")) return false;
      const folds = all("details:not(.rate)", chosen);
      const open = !folds.every((fold) => fold.open);
      folds.forEach((fold) => { fold.open = open; });
      return undefined;
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.matches("input, textarea, select")) event.target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), textarea, select")) return;
    const act = keys[event.key];
    if (act && !$("dialog[open]") && act(event) !== false) event.preventDefault();
  });

  // The list of runs follows what is read.

  function mark(anchor) {
    all("#run-list .at").forEach((one) => one.classList.remove("at"));
    const item = all("#run-list li").find((one) => one.dataset.run === anchor);
    if (!item) return;
    item.classList.add("at");
    const list = $("nav.runs");
    const [top, bottom] = [item.offsetTop - list.offsetTop, item.offsetTop - list.offsetTop + item.offsetHeight];
    if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 2;
  }

  const seen = "IntersectionObserver" in window
    ? new IntersectionObserver((entries) => {
      const first = entries.filter((entry) => entry.isIntersecting)[0];
      if (first) mark(first.target.id);
    }, { rootMargin: "-10% 0px -75% 0px" })
    : null;
  const watch = () => all("#history > .run[id]").forEach((run) => seen?.observe(run));

  // Live updates: a connection is open only while the page is visible, since a browser has few for each server.

  let source = null;

  function connect() {
    source?.close();
    source = null;
    if (document.hidden) return;
    const session = document.body.dataset.live;
    const list = $("#results")?.dataset.live;
    if (session) followSession(session);
    else if (list) followList(list);
  }

  function followSession(address) {
    const live = new URL(address, location.href);
    const last = all("#run-list li").pop();
    if (last) { // begin with the last run if it may have grown, else after it
      const number = Number($(".number", last).textContent.replace(/\D/g, ""));
      live.searchParams.set("from", $(".is-unfinished", last) ? number : number + 1);
    }
    source = new EventSource(live);
    source.addEventListener("entry", (event) => show(JSON.parse(event.data)));
    source.addEventListener("say", (event) => { $("#live").textContent = JSON.parse(event.data).text; });
  }

  function made(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content.firstElementChild;
  }

  function show(entry) {
    const fresh = made(entry.html);
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
    const old = entry.anchor ? document.getElementById(entry.anchor) : null;
    if (old) {
      if (old.outerHTML === fresh.outerHTML || old.contains(document.activeElement?.closest("form"))) return;
      const folds = all("details", old).map((fold) => fold.open);
      all("details", fresh).forEach((fold, number) => { fold.open = folds[number] ?? false; });
      const marked = old.classList.contains("at");
      old.replaceWith(fresh);
      if (marked) fresh.classList.add("at");
    } else {
      $("#nothing")?.remove();
      $("#history").append(fresh);
      fresh.classList.add("fresh");
    }
    if (entry.item) {
      const item = made(entry.item);
      const known = all("#run-list li").find((one) => one.dataset.run === entry.anchor);
      if (known) known.replaceWith(item); else $("#run-list").append(item);
    }
    if (fresh.id) seen?.observe(fresh);
    if (atEnd) scrollTo({ top: document.documentElement.scrollHeight });
  }

  function followList(address) {
    source = new EventSource(new URL(address, location.href));
    source.addEventListener("changed", () => {
      const busy = $(".sessions input:checked") || scrollY > 200 || $("#q")?.value;
      if (!busy) { reload(); return; }
      if ($(".news")) return;
      const button = document.createElement("button");
      button.className = "news";
      button.textContent = "Sessions changed: show";
      button.addEventListener("click", () => { button.remove(); reload(); scrollTo({ top: 0 }); });
      document.body.append(button);
    });
  }

  function reload() {
    const form = $("#filters");
    if (form && window.htmx) {
      const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
      htmx.ajax("GET", `${form.getAttribute("action")}?${query}`, { source: form, target: "#results", swap: "innerHTML" });
    }
  }

  document.addEventListener("visibilitychange", connect);
  addEventListener("pagehide", () => source?.close());
  document.addEventListener("htmx:afterSettle", () => { at = -1; watch(); });
  document.addEventListener("htmx:configRequest", (event) => {
    // An address shows only what was chosen.
    const form = event.detail.elt.closest("#filters");
    if (form) for (const name of [...event.detail.formData.keys()]) if (!event.detail.formData.get(name)) event.detail.formData.delete(name);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const form = event.detail.elt?.closest?.("#filters");
    if (form && $("#results")?.dataset.live) {
      const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
      $("#results").dataset.live = `${$("#results").dataset.live.split("?")[0]}?${query}`;
      connect();
    }
  });
  watch();
  connect();
})();
