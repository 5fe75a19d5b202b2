// Starts the small modules of a page. Each does one thing, and every page works without all of them.

import { startChoices } from "./choices.js";
import { startDialogs } from "./dialogs.js";
import { startJobs } from "./jobs.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startTheme } from "./theme.js";
import { startTimes } from "./times.js";
import { startToasts } from "./toasts.js";

startToasts();
startChoices();
startDialogs();
startJobs();
startTheme();
startTimes();
const live = startLive(document.body.dataset.live);
startKeys({ pause: live.toggle });
