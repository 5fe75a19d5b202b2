// In a form with data-exclusive, choosing "exclusive" for one topic turns the others off before one's eyes. The server
// reads it that way in any case.

export function startChoices() {
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-exclusive]");
    if (!form || event.target.value !== "exclusive") return;
    for (const radio of form.querySelectorAll("input[type=radio][value=disable]")) {
      if (radio.name !== event.target.name) radio.checked = true;
    }
  });
}
