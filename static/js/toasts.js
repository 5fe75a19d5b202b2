// Toasts of HTMX answers: the event "toast" of the header HX-Trigger (config/toasts.py) becomes what a page without
// scripting shows from Django's messages. One with an Undo or a link stays longer; none leaves while the pointer or focus
// is on it.

import { isOwnDoing } from "./live.js";

const MOST = 2;
const SECONDS = 6;
const SECONDS_WITH_OFFER = 15;

export function startToasts() {
  const region = document.getElementById("toasts");
  for (const toast of region.querySelectorAll(".toast")) arm(toast);
  document.body.addEventListener("toast", (event) => {
    for (const said of event.detail.toasts) region.append(build(said));
    for (const old of [...region.children].slice(0, -MOST)) old.remove();
  });
  // What the page fetches by itself may fail in silence: the header says how fresh the page is.
  document.body.addEventListener("htmx:sendError", ({ detail }) => {
    if (!isOwnDoing(detail.requestConfig)) region.append(build(unreachable()));
  });
  document.body.addEventListener("htmx:responseError", ({ detail }) => {
    if (!isOwnDoing(detail.requestConfig)) region.append(build(failed(detail.xhr)));
  });
}

const unreachable = () => ({ tone: "danger", text: "This instance does not answer. Nothing was changed." });

function failed(xhr) {
  const reason = { 403: "Your account may not do this.", 404: "It is not there any more. Reload the page." }[xhr.status];
  return { tone: "danger", text: reason ?? `That failed (${xhr.status}). The log of this instance says why.` };
}

function build({ text, tone, undo_url: undo, undo_fields: fields, link_url: link }) {
  const toast = document.getElementById("toast-template").content.firstElementChild.cloneNode(true);
  toast.dataset.tone = tone;
  for (const icon of toast.querySelectorAll("template")) {
    if (icon.dataset.tone === tone) toast.prepend(icon.content.firstElementChild);
    icon.remove();
  }
  // A topic or path may break behind its slashes and dots.
  for (const part of text.split(/(?<=\/)(?=[^/\s])|(?<=\.)(?=[a-z])/i)) toast.querySelector("p").append(part, document.createElement("wbr"));
  const form = toast.querySelector("form");
  if (undo) {
    form.setAttribute("action", undo);
    form.setAttribute("hx-post", undo);
    for (const [name, value] of new URLSearchParams(fields)) {
      form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    }
    form.addEventListener("htmx:afterRequest", () => {
      toast.remove();
      document.body.dispatchEvent(new CustomEvent("resync"));
    });
    window.htmx.process(form);
  } else {
    form.remove();
  }
  if (link) toast.querySelector("a").href = link;
  else toast.querySelector("a").remove();
  arm(toast, undo || link);
  return toast;
}

function arm(toast, offer = toast.querySelector("form, a")) {
  const dismiss = toast.querySelector("[data-dismiss]");
  dismiss.hidden = false;
  dismiss.addEventListener("click", () => toast.remove());
  let left = offer ? SECONDS_WITH_OFFER : SECONDS;
  const timer = setInterval(() => {
    if (!toast.matches(":hover, :focus-within")) left -= 1;
    if (left > 0 && toast.isConnected) return;
    clearInterval(timer);
    toast.remove();
  }, 1000);
}
