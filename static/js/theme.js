// The theme changes at once; the form that it is chosen in tells the server, which remembers it in a cookie.

export function startTheme() {
  const form = document.querySelector("[data-theme-form]");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = new FormData(form, event.submitter);
    const theme = body.get("theme");
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    await fetch(form.action, { method: "POST", body, redirect: "manual" });
  });
}
