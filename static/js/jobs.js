// What the pages of jobs keep over a swap: logs that somebody opened or closed, and how far they were read. A log that
// somebody looks for now (of what runs, of what failed) shows its end, unless one scrolled up in it.

const AT_END_PX = 24;

export function startJobs() {
  let kept = null;
  document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
    kept = detail.shouldSwap ? keep(detail.target) : null;
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    if (kept) bringBack(kept);
    kept = null;
    follow();
  });
  follow();
}

function keep(fragment) {
  const details = [...fragment.querySelectorAll("details[id]")].map((one) => [one.id, one.open]);
  const boxes = [...fragment.querySelectorAll("pre[id], .bounded[id]")].map((box) => [box.id, isFollowed(box) ? null : box.scrollTop]);
  return { details, boxes };
}

function bringBack({ details, boxes }) {
  for (const [id, open] of details) {
    const one = document.getElementById(id);
    if (one) one.open = open;
  }
  for (const [id, top] of boxes) {
    const box = document.getElementById(id);
    if (!box) continue;
    if (top !== null) box.scrollTop = top;
    box.toggleAttribute("data-read", top !== null);
  }
}

function follow() {
  for (const box of document.querySelectorAll("pre[data-follow]:not([data-read])")) box.scrollTop = box.scrollHeight;
}

const isFollowed = (box) => "follow" in box.dataset && box.scrollHeight - box.scrollTop - box.clientHeight < AT_END_PX;
