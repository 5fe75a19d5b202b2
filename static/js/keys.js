// Single keys, only when nothing has the focus that would take them and no modifier is held. The list that "?" shows is
// templates/ui/_keys.html: its links carry the keys, so what it says and what works are the same.

export function startKeys({ pause }) {
  const dialog = document.getElementById("keys");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input, textarea, select, dialog[open], [contenteditable]")) return;
    const go = dialog.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
    if (event.key === "?") dialog.showModal();
    else if (event.key === "/") document.querySelector("main input[type=search]")?.focus();
    else if (event.key === "r") pause();
    else if (go) location.assign(go.href);
    else return;
    event.preventDefault();
  });
}
