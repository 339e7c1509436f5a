/* A finished edit: the player, its files, what was said, and the same as a command and as Python; or a report. */

import { titleOf } from "./history.js";
import { duration } from "./parts.js";

const made = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
};

function copied(title, text) {
  const box = made("div", "fe-copy");
  const code = made("pre", "", text);
  code.tabIndex = 0;
  const button = made("button", "fe-quiet", "Copy");
  button.type = "button";
  button.setAttribute("aria-label", `Copy ${title}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected: copy it now";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  box.append(code, button);
  return box;
}

function folded(title, ...children) {
  const box = made("details", "fe-more");
  box.append(made("summary", "", title), ...children);
  return box;
}

const ABOUT = {
  "compare.mp4": "before and after",
  "mask.mp4": "where it may change",
  "mask_plain.mp4": "the mask in white on black",
  "edit.gif": "the edit, as a GIF",
  "edit.webp": "the edit, as a WebP",
  "compare.png": "before and after",
  "mask.png": "where it may change",
  "mask_plain.png": "the mask in white on black",
  "run.yaml": "all settings",
};
const about = (name) =>
  ABOUT[name] ?? (name.startsWith("edit.") ? "the edit" : name.startsWith("user_mask.") ? "the mask that you gave" : null);

/** "Done in 12 s: replace the fox with a panda, seed 5". */
function outcome({ state, seconds, settings, kind }) {
  const what = settings ? `: ${titleOf(settings)}${Number.isFinite(settings.seed) && kind !== "compare" ? `, seed ${settings.seed}` : ""}` : "";
  if (state === "stopped") return `Stopped${what}. This is as far as it came.`;
  return `Done${Number.isFinite(seconds) ? ` in ${duration(seconds)}` : ""}${what}`;
}

/** `value` is a job's status. Returns {destroy}. */
export function mountResult(element, value, mountPlayer) {
  const frame = made("div", "fe-result");
  const parts = [];
  let player = null;
  const done = made("p", "fe-note fe-done");
  done.setAttribute("role", "status");
  parts.push(done);
  if (value.report) {
    const report = made("iframe", "fe-report");
    report.title = "The comparison";
    report.src = value.report;
    const alone = made("a", "fe-quiet", "Open the report by itself");
    alone.href = value.report;
    alone.target = "_blank";
    parts.push(report, alone);
  }
  const place = made("div", "fe-place");
  if (value.player) parts.push(place);
  const files = made("p", "fe-files");
  for (const [name, url] of Object.entries(value.files ?? {})) {
    if (!about(name)) continue;
    const link = made("a", "fe-quiet", `Download: ${name} (${about(name)})`);
    link.href = url;
    link.download = name;
    files.append(link);
  }
  if (files.children.length) parts.push(files);
  if (value.notices?.length) {
    const list = made("ul", "fe-notices");
    for (const notice of value.notices) list.append(made("li", "", notice));
    parts.push(folded(value.notices.length === 1 ? "One remark" : `${value.notices.length} remarks`, list));
  }
  if (value.command) {
    parts.push(folded("The same from the command line, and from Python; it writes to ./outputs", copied("the command", value.command), copied("the Python lines", value.python ?? "")));
  }
  frame.append(...parts);
  element.replaceChildren(frame);
  setTimeout(() => (done.textContent = outcome(value)), 50); // a status is read aloud where it changes
  if (value.player) player = mountPlayer(place, value.player, {});
  return {
    destroy() {
      player?.destroy?.();
      element.replaceChildren();
    },
  };
}
