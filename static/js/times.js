// Keeps "12 s ago" true while the page stands. Same words as config/templatetags/ui.py.

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

export function startTimes() {
  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      time.textContent = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    }
  }, 5000);
}
