// The one confirmation, for what cannot be undone: a form with data-confirm is sent only after "yes" in #confirm. Where
// only one of its buttons asks, that button has data-confirm.
// Elements with data-opens="<dialog id>" open that dialog.

export function startDialogs() {
  const dialog = document.getElementById("confirm");
  let agreed = null;

  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target;
      const asks = event.submitter?.dataset.confirm ? event.submitter : form;
      if (!asks.dataset.confirm || agreed === form) {
        agreed = null;
        return;
      }
      event.preventDefault();
      event.stopImmediatePropagation();
      dialog.querySelector("h2").textContent = asks.dataset.confirmTitle ?? "Are you sure?";
      dialog.querySelector("p").textContent = asks.dataset.confirm;
      dialog.querySelector("[value=yes]").textContent = asks.dataset.confirmVerb ?? event.submitter?.textContent ?? "Yes";
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
