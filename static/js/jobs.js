// What the pages of jobs keep over a swap: logs that somebody opened or closed, and how far they were read. A log that
// somebody looks for now (of what runs, of what failed) shows its end, unless one scrolled up in it. On the list, which
// jobs are ticked, and what the bar says of them.

const AT_END_PX = 24;

export function startJobs() {
  startFilters();
  startSelection();
  let kept = null;
  document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
    kept = detail.shouldSwap ? keep(detail.target) : null;
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    if (kept) bringBack(kept);
    kept = null;
    follow();
    showSelection();
  });
  follow();
  showSelection();
}

function keep(fragment) {
  const details = [...fragment.querySelectorAll("details[id]")].map((one) => [one.id, one.open]);
  const boxes = [...fragment.querySelectorAll("pre[id], .bounded[id]")].map((box) => [box.id, isFollowed(box) ? null : box.scrollTop]);
  const ticked = [...fragment.querySelectorAll("input[type=checkbox][id]:checked")].map((box) => box.id);
  return { details, boxes, ticked };
}

function bringBack({ details, boxes, ticked }) {
  for (const id of ticked) {
    const box = document.getElementById(id);
    if (box) box.checked = true;
  }
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

// --- The list ---------------------------------------------------------------------------------------------------

// A choice is a search; what is not asked for does not stand in the address.
function startFilters() {
  document.addEventListener("change", ({ target }) => target.matches("select[data-submits]") && target.form.requestSubmit());
  document.addEventListener("formdata", ({ target, formData }) => {
    if (!("tidy" in target.dataset)) return;
    for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  });
}

function startSelection() {
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-all]")) for (const box of boxes()) box.checked = target.checked;
    if (target.matches("[data-all], [name=ids], [data-everything]")) showSelection();
  });
}

const boxes = () => [...document.querySelectorAll("input[name=ids][form=bulk]")];

// The bar shows while something is selected, and its dangerous button says how much.
function showSelection() {
  const bar = document.getElementById("bulk");
  if (!bar) return;
  const all = document.querySelector("[data-all]");
  const everything = bar.querySelector("[data-everything]");
  const count = boxes().filter((box) => box.checked).length;
  all.hidden = false;
  all.checked = count > 0 && count === boxes().length;
  all.indeterminate = count > 0 && !all.checked;
  bar.hidden = count === 0 && !everything.checked;
  const number = everything.checked ? everything.dataset.count : String(count);
  const said = `${number} job${number === "1" ? "" : "s"}`;
  bar.querySelector("[data-selected]").textContent = `${said} selected`;
  for (const button of bar.querySelectorAll("[data-confirm]")) {
    button.dataset.confirmVerb = `${button.textContent.trim()} ${said}`;
    button.dataset.confirmTitle = `${button.dataset.confirmVerb}?`;
  }
}
