// The one websocket of a page. It carries small signals: which kinds of things changed. They become events on the body,
// "jobs-changed" and so on, and the fragments that listen fetch themselves again. An element with data-live-key gets
// "key-changed" when its own thing changed. Without a socket the events come slowly, by the clock.

const KINDS = ["jobs", "topology", "topics", "assets", "workflow", "replication"];
const GAP_MS = 1100; // between two events of one kind; above the "throttle:1s" of a fragment, so that the last one counts
const POLL_MS = 10_000;
const RESYNC_MS = 30_000; // a lost signal costs at most this
const LOST_MS = 20_000; // unreachable for so long: say so

export function startLive(path) {
  const badge = document.getElementById("live");
  if (!path || !badge) return { toggle() {} };
  const title = document.title;
  const due = new Map();
  let socket = null;
  let tries = 0;
  let isPaused = false;
  let brokenSince = 0;

  const show = (state) => {
    badge.dataset.state = isPaused ? "paused" : state;
    document.title = state === "lost" && !isPaused ? `⚠ ${title}` : title;
  };

  const tell = (kind) => {
    if (isPaused || document.hidden) return;
    const entry = due.get(kind) ?? { last: 0, timer: 0 };
    due.set(kind, entry);
    if (entry.timer) return;
    const fire = () => {
      entry.timer = 0;
      entry.last = Date.now();
      document.body.dispatchEvent(new CustomEvent(`${kind}-changed`));
    };
    entry.timer = setTimeout(fire, Math.max(0, entry.last + GAP_MS - Date.now()));
  };
  const tellAll = () => KINDS.forEach(tell);

  const tellKeys = (keys) => {
    if (isPaused || document.hidden || !keys.length) return;
    const changed = new Set(keys);
    for (const element of document.querySelectorAll("[data-live-key]")) {
      if (changed.has(element.dataset.liveKey)) element.dispatchEvent(new CustomEvent("key-changed"));
    }
  };

  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}${path}`);
    socket.onopen = () => {
      tries = 0;
      brokenSince = 0;
      show("live");
      tellAll(); // whatever happened while nobody listened
    };
    socket.onmessage = (message) => {
      const { kinds, keys } = JSON.parse(message.data);
      kinds.forEach(tell);
      tellKeys(keys);
    };
    socket.onclose = () => {
      socket = null;
      brokenSince ||= Date.now();
      show(Date.now() - brokenSince > LOST_MS ? "lost" : "polling");
      tries += 1;
      // Jitter: after a restart not every tab comes back in the same instant.
      setTimeout(connect, Math.min(15_000, 500 * 2 ** Math.min(tries, 5)) * (0.5 + Math.random()));
    };
  };

  const toggle = () => {
    isPaused = !isPaused;
    show(socket?.readyState === WebSocket.OPEN ? "live" : "polling");
    if (!isPaused) tellAll();
  };

  holdWhileOpen();
  badge.addEventListener("click", toggle);
  document.body.addEventListener("resync", tellAll);
  document.addEventListener("visibilitychange", () => document.hidden || tellAll());
  setInterval(() => socket?.readyState === WebSocket.OPEN || tellAll(), POLL_MS);
  setInterval(tellAll, RESYNC_MS);
  connect();
  return { toggle };
}

// A fragment with something open in it (a popover, a field being typed in) waits until that is closed.
function holdWhileOpen() {
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    const { elt, requestConfig } = event.detail;
    const cause = requestConfig.triggeringEvent?.type ?? "";
    if (!cause.endsWith("-changed")) return;
    const typing = elt.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
    if (typing || elt.querySelector(":popover-open, dialog[open]")) event.preventDefault();
  });
}
