// The one confirmation, for what cannot be undone: a form with data-confirm is sent only after "yes" in #confirm.
// Elements with data-opens="<dialog id>" open that dialog.

export function startDialogs() {
  const dialog = document.getElementById("confirm");
  let agreed = null;

  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target;
      if (!form.dataset.confirm || agreed === form) {
        agreed = null;
        return;
      }
      event.preventDefault();
      event.stopImmediatePropagation();
      dialog.querySelector("h2").textContent = form.dataset.confirmTitle ?? "Are you sure?";
      dialog.querySelector("p").textContent = form.dataset.confirm;
      dialog.querySelector("[value=yes]").textContent = form.dataset.confirmVerb ?? event.submitter?.textContent ?? "Yes";
      dialog.returnValue = "";
      dialog.addEventListener(
        "close",
        () => {
          if (dialog.returnValue !== "yes") return;
          agreed = form;
          form.requestSubmit(event.submitter);
        },
        { once: true },
      );
      dialog.showModal();
    },
    { capture: true },
  );

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) document.getElementById(opener.dataset.opens)?.showModal();
  });
}
