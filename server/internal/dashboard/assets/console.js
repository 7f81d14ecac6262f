// The console's one script. Pages work without it: it makes them follow what
// happens, keeps times relative, asks in dialogs, copies, and speaks to passkeys.
"use strict";
(() => {
  const root = document.documentElement;

  // The theme is applied before anything is painted.
  const themes = {
    get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
    set: (t) => { try { localStorage.setItem("theme", t); } catch { /* kept for this page only */ } },
    isDark: () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark",
  };
  const kept = themes.get();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;

  const spans = [[60, 1, "s"], [3600, 60, "min"], [48 * 3600, 3600, "h"], [Infinity, 86400, "days"]];

  // relative says how long ago or ahead a time is, in the words of the server.
  function relative(iso) {
    const d = (Date.parse(iso) - Date.now()) / 1000, n = Math.abs(d);
    if (n < 5) return "now";
    const [, unit, word] = spans.find(([limit]) => n < limit);
    const text = Math.floor(n / unit) + " " + word;
    return d <= 0 ? text + " ago" : "in " + text;
  }

  function tellTimes(within) {
    for (const t of within.querySelectorAll("time[datetime]")) {
      const rel = t.querySelector(".rel"), text = relative(t.dateTime);
      if (rel && rel.textContent !== text) rel.textContent = text;
    }
  }

  // dress gives a part of a page what only works with a script.
  function dress(within) {
    tellTimes(within);
    for (const b of within.querySelectorAll("[data-copy]")) b.hidden = false;
  }

  // Live pages: the server sends the parts that changed.
  let stream = null, again = null;
  function follow() {
    if (stream || document.hidden || !document.body.hasAttribute("data-follow")) return;
    stream = new EventSource(location.pathname + location.search);
    stream.addEventListener("open", () => { document.body.dataset.following = "yes"; pulse(""); });
    stream.addEventListener("fragment", (e) => put(JSON.parse(e.data)));
    stream.addEventListener("error", () => {
      if (stream.readyState !== EventSource.CLOSED) { pulse("Connecting again…"); return; }
      stream = null;
      delete document.body.dataset.following;
      pulse("Not live: reload to see what is new");
      clearTimeout(again);
      again = setTimeout(follow, 15000);
    });
  }
  function unfollow() {
    if (stream) stream.close();
    stream = null;
    clearTimeout(again);
  }
  function pulse(text) {
    const p = document.querySelector("[data-pulse]");
    if (p) { p.textContent = text; p.hidden = text === ""; }
  }

  const waiting = new Map();
  function busy(place) {
    const on = document.activeElement, chosen = getSelection();
    return (place.contains(on) && on.matches("input:not([type=checkbox]), textarea, select")) ||
      place.querySelector("details[open], dialog[open]") !== null ||
      (chosen && !chosen.isCollapsed && place.contains(chosen.anchorNode));
  }
  // put swaps a part of the page. What a person is in the middle of is not taken
  // from under them: the part waits.
  function put(f) {
    const place = document.querySelector('[data-live="' + CSS.escape(f.id) + '"]');
    if (!place) return;
    if (busy(place)) { waiting.set(f.id, f); return; }
    waiting.delete(f.id);
    const parsed = new DOMParser().parseFromString(f.html, "text/html").body; // inert: nothing in it runs
    dress(parsed);
    const was = new Map([...place.querySelectorAll("tr")].map((r) => [r.textContent, r]));
    const marked = new Set([...place.querySelectorAll("input[type=checkbox]:checked")].map((i) => i.value));
    const on = document.activeElement;
    const focus = place.contains(on) ? (on.id ? "#" + CSS.escape(on.id) : on.getAttribute("href") ? 'a[href="' + CSS.escape(on.getAttribute("href")) + '"]' : null) : null;
    place.replaceChildren(...parsed.childNodes);
    for (const i of place.querySelectorAll("input[type=checkbox]")) i.checked = marked.has(i.value);
    if (was.size) for (const r of place.querySelectorAll("tr")) if (!was.has(r.textContent)) r.classList.add("fresh");
    if (focus) place.querySelector(focus)?.focus({ preventScroll: true });
    count();
    document.body.dataset.put = "yes";
  }

  // Acts ask in a dialog; without a script they unfold in their place.
  function ask(details) {
    const body = details.querySelector(".act-body");
    const dialog = document.createElement("dialog");
    const heading = body.querySelector("h3");
    if (heading) { heading.id = heading.id || "ask-" + Math.random().toString(36).slice(2); dialog.setAttribute("aria-labelledby", heading.id); }
    dialog.append(body);
    document.body.append(dialog);
    for (const b of dialog.querySelectorAll("[data-close]")) b.hidden = false;
    dialog.addEventListener("click", (e) => { if (e.target === dialog || e.target.closest("[data-close]")) dialog.close(); });
    dialog.addEventListener("close", () => {
      details.append(body);
      dialog.remove();
      details.open = false;
      details.querySelector("summary").focus();
    });
    dialog.showModal();
    (dialog.querySelector("input:not([type=hidden]), textarea, select") || dialog.querySelector("button")).focus();
  }

  function count() {
    const bar = document.querySelector("[data-bulk-bar]");
    if (!bar) return;
    const n = document.querySelectorAll("[data-bulk] input[name=device]:checked").length;
    bar.hidden = n === 0;
    bar.querySelector("[data-bulk-count]").textContent = n === 1 ? "1 device marked" : n + " devices marked";
  }

  // Passkeys speak bytes; forms and JSON speak base64url.
  const toBytes = (s) => Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const toText = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  async function post(path, body) {
    const r = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "same-origin" });
    const out = await r.json().catch(() => ({}));
    if (!r.ok) throw new Error(out.title ? out.title + (out.detail ? ": " + out.detail : "") : "The server did not answer as expected");
    return out;
  }
  function credential(c) {
    const out = { id: c.id, rawId: toText(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(), response: {} };
    if (c.authenticatorAttachment) out.authenticatorAttachment = c.authenticatorAttachment;
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (c.response[name]) out.response[name] = toText(c.response[name]);
    }
    if (c.response.getTransports) out.response.transports = c.response.getTransports();
    return out;
  }
  async function passkeySignIn(button) {
    const begin = await post("/dashboard/sign-in/passkey/options", {});
    const o = begin.options.publicKey || begin.options;
    o.challenge = toBytes(o.challenge);
    for (const c of o.allowCredentials || []) c.id = toBytes(c.id);
    const got = await navigator.credentials.get({ publicKey: o });
    const end = await post("/dashboard/sign-in/passkey", { challenge: begin.id, response: credential(got), next: button.dataset.next });
    location.assign(end.next);
  }
  async function passkeyRegister(button) {
    const name = button.form ? button.form.elements.name.value.trim() : "";
    const begin = await post("/dashboard/me/passkeys/options", {});
    const o = begin.options.publicKey || begin.options;
    o.challenge = toBytes(o.challenge);
    o.user.id = toBytes(o.user.id);
    for (const c of o.excludeCredentials || []) c.id = toBytes(c.id);
    const made = await navigator.credentials.create({ publicKey: o });
    const end = await post("/dashboard/me/passkeys", { challenge: begin.id, name: name || "passkey", response: credential(made) });
    location.assign(end.next);
  }
  async function withPasskey(button, f) {
    const say = document.querySelector("[data-passkey-says]");
    button.disabled = true;
    if (say) { say.hidden = true; say.textContent = ""; }
    try {
      await f(button);
    } catch (e) {
      if (say) {
        say.hidden = false;
        say.textContent = e.name === "NotAllowedError" ? "The passkey was not used: it was cancelled, or took too long." : e.message;
      }
    } finally {
      button.disabled = false;
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    dress(document);
    setInterval(() => {
      tellTimes(document);
      for (const f of [...waiting.values()]) put(f);
    }, 5000);

    const toggle = document.querySelector("[data-theme-toggle]");
    if (toggle) {
      const tell = () => { toggle.querySelector("span").textContent = themes.isDark() ? "Light" : "Dark"; };
      toggle.hidden = false;
      toggle.addEventListener("click", () => { root.dataset.theme = themes.isDark() ? "light" : "dark"; themes.set(root.dataset.theme); tell(); });
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
      tell();
    }
    if (window.PublicKeyCredential) for (const e of document.querySelectorAll("[data-needs-passkey]")) e.hidden = false;
    document.addEventListener("click", (e) => {
      const copy = e.target.closest("[data-copy]");
      if (copy) navigator.clipboard.writeText(copy.dataset.copy).then(() => { copy.title = "Copied"; pulse("Copied"); setTimeout(() => pulse(""), 1500); });
      const signIn = e.target.closest("[data-passkey-sign-in]");
      if (signIn) withPasskey(signIn, passkeySignIn);
      const register = e.target.closest("[data-passkey-register]");
      if (register) { e.preventDefault(); withPasskey(register, passkeyRegister); }
      const summary = e.target.closest("details[data-dialog] > summary");
      if (summary) { e.preventDefault(); ask(summary.parentElement); }
    });
    document.addEventListener("change", (e) => { if (e.target.matches("[data-bulk] input")) count(); });
    document.addEventListener("submit", (e) => {
      for (const b of e.target.querySelectorAll("button[type=submit]")) setTimeout(() => { b.disabled = true; }, 0);
    });
    window.addEventListener("pageshow", () => { for (const b of document.querySelectorAll("button[type=submit]")) b.disabled = false; });
    document.addEventListener("visibilitychange", () => { if (document.hidden) unfollow(); else follow(); });
    window.addEventListener("pagehide", unfollow);
    count();
    follow();
  });
})();
