// Single keys, only when nothing has the focus that would take them and no modifier is held. The list that "?" shows is
// templates/ui/_keys.html: its links carry the keys, so what it says and what works are the same. A table with data-rows
// has keys of its own, which come first there.

export function startKeys({ pause }) {
  const dialog = document.getElementById("keys");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog[open], [contenteditable]")) return;
    const go = dialog.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
    if (moveInRows(event.key)) event.preventDefault();
    else if (event.key === "?") dialog.showModal();
    else if (event.key === "/") document.querySelector("main input[type=search]")?.focus();
    else if (event.key === "r") pause();
    else if (go) location.assign(go.href);
    else return;
    event.preventDefault();
  });
}

// j and k move among the rows, x selects one; Enter opens it, for it is its link that has the focus.
function moveInRows(key) {
  const rows = [...document.querySelectorAll("table[data-rows] tbody tr")];
  if (!rows.length || !["j", "k", "x"].includes(key)) return false;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  if (key === "x") {
    const box = rows[at]?.querySelector("input[type=checkbox]");
    box?.click();
    return true;
  }
  const next = at < 0 ? 0 : Math.min(Math.max(at + (key === "j" ? 1 : -1), 0), rows.length - 1);
  rows[next].querySelector("th a")?.focus();
  rows[next].scrollIntoView({ block: "nearest" });
  return true;
}
