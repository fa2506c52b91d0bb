// Small behaviours that every page shares. Everything still works as plain links and forms without them.
(() => {
  const bootstrap = () => window.tabler && window.tabler.bootstrap;

  // --- Copy: <button data-copy="value" data-copied="Copied"> or data-copy-from="#id" ------------------------------
  async function copy(text) {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) throw new Error("copy was refused");
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    event.preventDefault();
    const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    try {
      await copy(source ? source.value || source.textContent.trim() : button.dataset.copy);
    } catch {
      return;
    }
    const icon = button.querySelector(".ti-copy");
    if (icon) {
      icon.classList.replace("ti-copy", "ti-check");
      setTimeout(() => icon.classList.replace("ti-check", "ti-copy"), 1600);
    }
    announce(button.dataset.copied || "");
  });

  // --- Announcements and failures ---------------------------------------------------------------------------------
  const notices = () => document.getElementById("notices");

  function announce(text) {
    const line = document.createElement("div");
    line.className = "visually-hidden";
    line.textContent = text;
    notices().append(line);
    setTimeout(() => line.remove(), 4000);
  }

  function fail(text, trace) {
    const box = document.createElement("div");
    box.className = "notice notice-failed";
    box.setAttribute("role", "alert");
    box.append(text);
    if (trace) {
      const code = document.createElement("code");
      code.textContent = trace;
      box.append(" ", code);
    }
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn-close";
    close.setAttribute("aria-label", "×");
    close.addEventListener("click", () => box.remove());
    box.append(close);
    notices().replaceChildren(box);
  }

  document.addEventListener("htmx:responseError", (event) => {
    fail(notices().dataset.failed, event.detail.xhr.getResponseHeader("X-Trace-Id") || String(event.detail.xhr.status));
  });
  document.addEventListener("htmx:sendError", () => fail(notices().dataset.offline));

  // --- Drawer and dialog: open once htmx has filled them ----------------------------------------------------------
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "drawer-content") {
      label(event.target, document.getElementById("drawer"));
      bootstrap().Offcanvas.getOrCreateInstance("#drawer").show();
    } else if (event.target.id === "dialog-content") {
      label(event.target, document.getElementById("dialog"));
      bootstrap().Modal.getOrCreateInstance("#dialog").show();
    }
  });

  function label(content, holder) {
    const title = content.querySelector(".offcanvas-title, .modal-title");
    if (title) holder.setAttribute("aria-label", title.textContent.trim());
  }

  document.addEventListener("hidden.bs.offcanvas", (event) => {
    if (event.target.id === "drawer") document.getElementById("drawer-content").replaceChildren();
  });

  // --- Filters: <form data-autosubmit> applies a choice at once; empty fields stay out of the address -------------
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-autosubmit]");
    if (form) form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method === "get" && form.matches("[data-autosubmit], [data-tidy]")) {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    }
    // A paid or slow action must not be sent twice by a second click.
    if (form.method === "post" && form.matches("[data-once]")) {
      if (form.dataset.sent) return event.preventDefault();
      form.dataset.sent = "1";
      const button = event.submitter;
      if (button) button.classList.add("btn-loading");
    }
  });
  window.addEventListener("pageshow", () => {
    for (const field of document.querySelectorAll("[data-autosubmit] :disabled, [data-tidy] :disabled")) field.disabled = false;
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      for (const button of form.querySelectorAll(".btn-loading")) button.classList.remove("btn-loading");
    }
  });

  // --- A whole row as a link: <tr data-href="…"> has a real link inside for the keyboard ---------------------------
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-row]");
    if (!row || event.target.closest("a, button, input, label, select, summary")) return;
    if (window.getSelection().toString()) return;
    const link = row.querySelector("a[data-row-link]");
    if (link) link.click();
  });

  // --- Suggest the browser's time zone where a form asks for one ---------------------------------------------------
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  if (zone && !/(?:^|; )time_zone=/.test(document.cookie)) {
    document.cookie = `time_zone=${zone}; Path=/; Max-Age=31536000; SameSite=Lax`;
  }
  for (const hint of document.querySelectorAll("[data-zone-hint]")) {
    const select = document.getElementById(hint.dataset.zoneHint);
    if (!zone || !select || select.value === zone || ![...select.options].some((option) => option.value === zone)) continue;
    hint.hidden = false;
    hint.querySelector("[data-zone]").textContent = zone;
    hint.addEventListener("click", () => {
      select.value = zone;
      hint.hidden = true;
    });
  }
})();
