// The one websocket of a page. It carries small signals: which kinds of things changed. They become events on the body,
// "jobs-changed" and so on, and the fragments that listen fetch themselves again. An element with data-live-key gets
// "key-changed" when its own thing changed. Without a socket the events come slowly, by the clock.

const KINDS = ["jobs", "schedules", "queues", "topology", "topics", "assets", "workflow", "replication"];
const GAP_MS = 1100; // between two events of one kind; above the "throttle:1s" of a fragment, so that the last one counts
const POLL_MS = 10_000;
const RESYNC_MS = 30_000; // a lost signal costs at most this

export function startLive(path) {
  const badge = document.getElementById("live");
  if (!path || !badge) return { toggle() {} };
  const title = document.title;
  const due = new Map();
  let socket = null;
  let tries = 0;
  let isPaused = false;
  let isUnreachable = false; // plain requests fail too

  const show = () => {
    const isOpen = socket?.readyState === WebSocket.OPEN;
    const state = isOpen ? "live" : isUnreachable ? "lost" : "polling";
    badge.dataset.state = isPaused ? "paused" : state;
    document.title = badge.dataset.state === "lost" ? `⚠ ${title}` : title;
  };
  const reached = (isReached) => {
    isUnreachable = !isReached;
    show();
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
      reached(true);
      tellAll(); // whatever happened while nobody listened
    };
    socket.onmessage = (message) => {
      const { kinds, keys } = JSON.parse(message.data);
      kinds.forEach(tell);
      tellKeys(keys);
    };
    socket.onclose = () => {
      socket = null;
      show();
      tries += 1;
      // Jitter: after a restart not every tab comes back in the same instant.
      setTimeout(connect, Math.min(15_000, 500 * 2 ** Math.min(tries, 5)) * (0.5 + Math.random()));
    };
  };

  const toggle = () => {
    isPaused = !isPaused;
    show();
    if (!isPaused) tellAll();
  };

  holdWhileInUse();
  badge.addEventListener("click", toggle);
  document.body.addEventListener("resync", tellAll);
  document.body.addEventListener("htmx:sendError", () => reached(false));
  document.body.addEventListener("htmx:afterOnLoad", () => reached(true));
  document.addEventListener("visibilitychange", () => document.hidden || tellAll());
  setInterval(() => socket?.readyState === WebSocket.OPEN || tellAll(), POLL_MS);
  setInterval(tellAll, RESYNC_MS);
  connect();
  return { toggle };
}

// True for what the page fetches by itself, false for what a person asked for.
export function isOwnDoing(requestConfig) {
  return /-changed$|^every$/.test(requestConfig?.triggeringEvent?.type ?? "every");
}

// A fragment with something open in it (a popover, a field being typed in) waits until that is closed; and while an
// action that a person started in it is under way, its answer must find the form that asked.
function holdWhileInUse() {
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    const { elt, requestConfig } = event.detail;
    if (isOwnDoing(requestConfig) && isInUse(elt)) event.preventDefault();
  });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const { target, requestConfig } = event.detail;
    if (isOwnDoing(requestConfig) && isInUse(target)) event.detail.shouldSwap = false;
  });
}

function isInUse(fragment) {
  const field = fragment.contains(document.activeElement) ? document.activeElement : null;
  const isChanged = field?.matches("input, textarea") && field.value !== field.defaultValue;
  return isChanged || fragment.querySelector(":popover-open, dialog[open], .htmx-request") !== null;
}
