// Keeps "12 s ago" and "in 12 s" true while the page stands. Same words as config/templatetags/ui.py.

const UNITS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
];

function ago(seconds) {
  if (seconds < 5) return "just now";
  for (const [size, unit] of UNITS) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  return `${Math.floor(seconds)} s ago`;
}

function ahead(seconds) {
  if (seconds <= 0) return "any moment";
  for (const [size, unit] of UNITS) if (seconds >= 2 * size) return `in ${Math.floor(seconds / size)} ${unit}`;
  return `in ${seconds} s`;
}

export function startTimes() {
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      time.textContent = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    }
  }, 5000);
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-until]")) {
      time.textContent = ahead(Math.round((Date.parse(time.dateTime) - Date.now()) / 1000));
    }
  }, 1000);
}
