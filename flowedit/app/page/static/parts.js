// What all parts share: elements made of text alone, icons, requests with one-line errors, times in plain words.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M8.5 6v12M15.5 6v12",
  back: "M15 6l-6 6 6 6",
  on: "M9 6l6 6-6 6",
  loop: "M5 11a6 6 0 0 1 6-5h7m-3-3 3 3-3 3M19 13a6 6 0 0 1-6 5H6m3 3-3-3 3-3",
  mask: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16M12 8h6.9M12 12h8M12 16h6.9",
  sound: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  mute: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5m0-5-5 5",
  full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  wipe: "M9 7l-5 5 5 5M15 7l5 5-5 5",
  stop: "M7 7h10v10H7z",
  upload: "M12 16V4m-5 5 5-5 5 5M4 16v4h16v-4",
  film: "M4 5h16v14H4zM8 5v14M16 5v14M4 9.5h4M4 14.5h4M16 9.5h4M16 14.5h4",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  brush: "M20 4 10.5 13.5M9 13c-3 0-4 2-4 4 0 1.5-1 2.5-2 3 4 1 8.5 0 8.5-4A3 3 0 0 0 9 13z",
  eraser: "M8.5 19.5 4 15 14 5l6 6-8.5 8.5zM9 10l6 6M8.5 19.5H20",
  box: "M4.5 6.5h15v11h-15z",
  undo: "M8 5 4 9l4 4M4 9h10a5.5 5.5 0 0 1 0 11h-3",
  clear: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  load: "M12 4v12m-5-5 5 5 5-5M4 20h16",
};

/** An element: `h("button", {class: "x", onclick: f, "aria-label": "Play"}, "text", child)`; strings become text. */
export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  drawing.setAttribute("class", "fe-icon");
  path.setAttribute("d", ICONS[name]);
  if (name === "play" || name === "stop") drawing.setAttribute("fill", "currentColor");
  drawing.append(path);
  return drawing;
}

/** A button with an icon alone; its label is read aloud and shown as a tip, with its key. */
export function iconButton(name, label, onclick, key = "") {
  const button = h("button", { type: "button", class: "fe-button fe-square", onclick }, icon(name));
  relabel(button, name, label, key);
  return button;
}

export function relabel(button, name, label, key = "") {
  button.replaceChildren(icon(name));
  button.setAttribute("aria-label", label);
  button.title = key ? `${label} (${key})` : label;
}

export function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

export const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** A request to the server that did not work: `message` is one line, `away` says that nobody answered. */
export class Refusal extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
    this.away = status === 0 || status >= 500;
  }
}

/** The JSON that `path` answers; raises Refusal with the server's own line. */
export async function request(path, { json, ...options } = {}) {
  if (json !== undefined) {
    options = { method: "POST", ...options, body: JSON.stringify(json), headers: { "Content-Type": "application/json" } };
  }
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("the server does not answer; is it still running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(errorLine(said, answer.status), answer.status);
  return said;
}

export function errorLine(said, status) {
  return typeof said?.error === "string" && said.error ? said.error : `the server answered ${status} and gave no reason`;
}

/** 8 -> "8 s", 95 -> "1 min 35 s", 4000 -> "1 h 7 min". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole / 60} min`;
  return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
}

/** The time left, no finer than it is known. */
export function left(seconds) {
  if (seconds < 5) return "a few seconds left";
  const step = seconds < 60 ? 5 : seconds < 600 ? 15 : 60;
  return `about ${duration(Math.round(seconds / step) * step)} left`;
}

export function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${power > 2 || (power && value < 10) ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

export const seconds = (lasts) => `${lasts.toFixed(lasts < 100 ? 2 : 1)} s`;

/** A line of the server as a sentence begins; a file's `name`, a flag and a key keep their letters. */
export const sentence = (text, name = "") =>
  /^[a-z'’-]+[,:;.!?]?(\s|$)/.test(text) && !(name && text.startsWith(name)) ? text.slice(0, 1).toUpperCase() + text.slice(1) : text;

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** A bar that is announced to screen readers; `set(null)` is "for how long nobody knows". */
export function bar(label) {
  const fill = h("span", { class: "fe-fill" });
  const element = h("div", { class: "fe-progress", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  function set(share) {
    element.classList.toggle("fe-unknown", share === null);
    if (share === null) {
      element.removeAttribute("aria-valuenow");
      fill.style.width = "";
      return;
    }
    const percent = clamp(100 * share, 0, 100);
    element.setAttribute("aria-valuenow", Math.round(percent));
    fill.style.width = `${percent}%`;
  }
  return { element, set };
}

/** Whether keys are for writing here, and not for a player. */
export const writes = (target) =>
  target.isContentEditable || target.matches("textarea, select, input:not([type=range]):not([type=button])");
