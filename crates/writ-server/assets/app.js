// What pages can do beyond forms and links: copy ids, submit a choice at once, move by keyboard.
// Everything works without this file.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");

  // A choice that stands alone is submitted when it changes.
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field instanceof HTMLElement && field.hasAttribute("data-submit")) field.closest("form").requestSubmit();
  });

  // Empty fields stay out of the address.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "get" || form.hasAttribute("hx-get")) return;
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    setTimeout(() => { for (const field of form.elements) field.disabled = false; }, 0);
  });

  // Ids and commands can be copied whole.
  const arm = (scope) => {
    for (const place of scope.querySelectorAll("code[data-copy]")) {
      if (place.dataset.armed || !navigator.clipboard) continue;
      place.dataset.armed = "yes";
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(place.dataset.copy);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      place.after(button);
    }
  };
  arm(document);
  document.addEventListener("htmx:after:swap", () => arm(document));

  // Selecting a shortened id copies the whole one.
  document.addEventListener("copy", (event) => {
    const chosen = document.getSelection();
    const place = chosen && chosen.anchorNode && chosen.anchorNode.parentElement && chosen.anchorNode.parentElement.closest("[data-copy]");
    if (place && chosen.toString().trim() === place.textContent.trim()) {
      event.clipboardData.setData("text/plain", place.dataset.copy);
      event.preventDefault();
    }
  });

  // Keys: / search, g and a letter, j and k rows, Enter opens, ? lists them.
  const places = { o: "/", c: "/changes", r: "/runs", n: "/environments", f: "/findings", x: "/exemptions", k: "/controls", e: "/evidence", h: "/admin/health" };
  let pending = false;
  let row = -1;
  const rows = () => [...document.querySelectorAll("main table:not(.heat) tbody tr")];
  const mark = (step) => {
    const all = rows();
    if (!all.length) return;
    all.forEach((one) => one.classList.remove("on"));
    row = Math.max(0, Math.min(all.length - 1, row + step));
    all[row].classList.add("on");
    all[row].scrollIntoView({ block: "nearest" });
  };
  const help = () => {
    let box = document.getElementById("keys");
    if (!box) {
      box = document.createElement("dialog");
      box.id = "keys";
      box.setAttribute("aria-label", "Keys");
      const list = [["/", "search"], ["g o", "overview"], ["g c", "changes"], ["g r", "runs"], ["g n", "environments"], ["g f", "findings"], ["g x", "exemptions"], ["g k", "controls"], ["g e", "evidence"], ["j k", "next and previous row"], ["Enter", "open the row"], ["Esc", "close"]];
      const dl = document.createElement("dl");
      dl.className = "parts";
      for (const [key, what] of list) {
        const dt = document.createElement("dt");
        const kbd = document.createElement("kbd");
        kbd.textContent = key;
        dt.append(kbd);
        const dd = document.createElement("dd");
        dd.textContent = what;
        dl.append(dt, dd);
      }
      box.append(dl);
      document.body.append(box);
    }
    box.showModal();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    if (pending) {
      pending = false;
      const at = new URLSearchParams(location.search).get("at");
      const place = places[event.key];
      if (place) location.assign(at ? `${place}?at=${encodeURIComponent(at)}` : place);
      return;
    }
    if (event.key === "/") { document.getElementById("q").focus(); event.preventDefault(); }
    else if (event.key === "g") pending = true;
    else if (event.key === "j") mark(1);
    else if (event.key === "k") mark(-1);
    else if (event.key === "?") help();
    else if (event.key === "Enter" && row >= 0 && document.activeElement === document.body) {
      const link = rows()[row] && rows()[row].querySelector("th a, td a");
      if (link) link.click();
    }
  });
})();
