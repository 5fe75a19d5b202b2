// Uploads: files that are dropped or chosen go three at a time, each with its own row, progress and errors. A file gets
// its row when its turn comes, so that a thousand of them do not push the library out of sight.
// Without this module the form sends them all at once and the page says what became of each.

const AT_ONCE = 3;
const GONE_MS = 5_000; // a row that went well leaves after so long

for (const section of document.querySelectorAll("[data-upload]")) start(section);

function start(section) {
  const form = section.querySelector("form");
  const input = form.querySelector('input[type="file"]');
  const list = section.querySelector(".uploads");
  const template = document.getElementById("upload-template");
  const count = section.querySelector("[data-waiting]");
  const waiting = [];
  let running = 0;
  let held = 0; // how many nested elements the dragged files are above

  form.querySelector("button").hidden = true;

  const pump = () => {
    while (running < AT_ONCE && waiting.length) {
      const upload = waiting.shift();
      upload.row ??= makeRow(upload);
      running += 1;
      send(form, upload).finally(() => {
        running -= 1;
        pump();
      });
    }
    count.hidden = waiting.length === 0;
    count.textContent = `${waiting.length} more wait for their turn.`;
  };

  const add = (files) => {
    for (const file of files) waiting.push({ file, isReplacing: form.elements.replace.checked });
    pump();
  };

  const makeRow = (upload) => {
    const row = template.content.firstElementChild.cloneNode(true);
    row.querySelector(".name").textContent = upload.file.name;
    row.querySelector("progress").setAttribute("aria-label", upload.file.name);
    const again = (isReplacing) => {
      upload.isReplacing ||= isReplacing;
      show(row, "busy", "waits");
      waiting.push(upload);
      pump();
    };
    row.querySelector("[data-retry]").addEventListener("click", () => again(false));
    row.querySelector("[data-replace]").addEventListener("click", () => again(true));
    row.querySelector("[data-dismiss]").addEventListener("click", () => remove(row, list));
    show(row, "busy", "0 %");
    list.append(row);
    list.hidden = false;
    return row;
  };

  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });

  // Anywhere on the page: a file dropped beside the zone would otherwise replace the page.
  addEventListener("dragenter", (event) => mark(event, 1));
  addEventListener("dragleave", (event) => mark(event, -1));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    held = 0;
    form.toggleAttribute("data-over", false);
    add(dropped(event.dataTransfer));
  });
  addEventListener("beforeunload", (event) => {
    if (running) event.preventDefault();
  });

  function mark(event, step) {
    if (!hasFiles(event)) return;
    held = Math.max(0, held + step);
    form.toggleAttribute("data-over", held > 0);
  }
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;

// Folders come as files that cannot be read; they are left out.
function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  return items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile());
}

function send(form, { file, row, isReplacing }) {
  // A server that hangs up in mid-body is, to a browser, one that does not answer: what it would refuse is not sent.
  if (file.size > Number(form.dataset.mostBytes)) {
    return Promise.resolve(failed(row, `The file is larger than ${form.dataset.most}, the most that is taken here.`));
  }
  const body = new FormData();
  body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  body.append("name", file.name);
  if (isReplacing) body.append("replace", "1");
  body.append("file", file);
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const bar = row.querySelector("progress");
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = ({ loaded, total }) => {
      bar.value = total ? (100 * loaded) / total : 0;
      show(row, "busy", loaded < total ? `${Math.round(bar.value)} %` : "being stored");
    };
    request.onload = () => resolve(answered(row, request));
    request.onerror = () => resolve(failed(row, "This instance does not answer. Look whether it runs, then retry.", true));
    request.send(body);
  });
}

function answered(row, request) {
  const facts = parsed(request.responseText);
  if (request.status === 201 && facts?.path) return done(row);
  if (facts?.error) {
    const message = [facts.error, facts.remedy].filter(Boolean).join(" ");
    return failed(row, message, request.status >= 500, facts.is_replaceable);
  }
  if (request.status === 403) return failed(row, "Your account may not upload here, or its session is over. Reload the page.");
  if (request.status === 413) return failed(row, "The file is larger than this server takes.");
  if (request.status >= 500) return failed(row, `That failed (${request.status}). The log of this instance says why.`, true);
  return failed(row, "Your session is over. Reload the page and log in again.");
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function done(row) {
  show(row, "good", "uploaded");
  document.body.dispatchEvent(new CustomEvent("resync"));
  setTimeout(() => remove(row, row.parentElement), GONE_MS);
}

function failed(row, message, isRetryable = false, isReplaceable = false) {
  show(row, "danger", "refused", message);
  row.querySelector("[data-retry]").hidden = !isRetryable;
  row.querySelector("[data-replace]").hidden = !isReplaceable;
  row.querySelector("[data-dismiss]").hidden = false;
}

function show(row, tone, status, message = "") {
  row.dataset.tone = tone;
  row.querySelector("[data-status]").textContent = status;
  row.querySelector(":scope > svg")?.remove();
  row.prepend(row.querySelector(`[data-icon=${tone}]`).content.firstElementChild.cloneNode(true));
  row.querySelector("progress").hidden = tone !== "busy";
  for (const button of row.querySelectorAll("button")) button.hidden = true;
  const error = row.querySelector(".error");
  error.hidden = !message;
  error.textContent = message;
}

function remove(row, list) {
  row.remove();
  if (list) list.hidden = list.children.length === 0;
}
