// The edits so far as cards, thirty at a time; an earlier result gives its settings back; delete asks first.
import { clamp, errorLine, h, icon, iconButton, request, sentence } from "./parts.js";

const PAGE = 30, MOST = 200; // cards that are asked for at once; the most that the server gives at once

const SAID = {
  quality: (value) => (value === "auto" ? null : `${value} quality`),
  strength: (value) => `strength ${Math.round(100 * value)} %`,
  seed: (value) => `seed ${value}`,
  mode: (value) => `method ${String(value).replaceAll("_", " ")}`,
  backbone: (value) => `model ${value}`,
};

/** What was asked for, as a person would say it: the title of an edit's card. */
export function titleOf(settings) {
  if (settings.instruction) return String(settings.instruction);
  if (settings.source_words && settings.target_words) return `${settings.source_words} → ${settings.target_words}`;
  return String(settings.target ?? "An edit");
}

/** The settings that matter most, in plain words. */
export function wordsOf(settings) {
  return Object.entries(SAID).flatMap(([key, say]) => {
    const value = settings[key];
    return value === undefined || value === null || value === "" ? [] : (say(value) ?? []);
  });
}

/** "today, 14:05", "yesterday, 9:00", "3 March 2026". `created` is in seconds of the epoch, or a date as text. */
export function dayOf(created, now = new Date()) {
  const day = new Date(typeof created === "number" ? 1000 * created : created);
  if (Number.isNaN(day.getTime())) return "";
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  const ago = Math.round((midnight(now) - midnight(day)) / 864e5);
  const time = day.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (ago === 0) return `today, ${time}`;
  if (ago === 1) return `yesterday, ${time}`;
  return day.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
}

/** Facts in a row; a line is broken between two, never within one. */
const row = (...texts) => texts.filter(Boolean).map((text) => text.replaceAll(" ", "\u00a0")).join("\u00a0· ");

/**
 * Mount the history of the API into `element`. `onchoose(item)` when an edit is to be looked at and gone on from, or
 * `onchoose({settings, name, notices})` for a file that was dropped; `ondelete(id)` after a yes.
 */
export function mountHistory(element, { onchoose = () => {}, ondelete = () => {}, api = "/api" } = {}) {
  const chooser = h("input", { type: "file", accept: "video/*,.gif,.png,.yaml,.yml", class: "fe-unseen", tabindex: -1, "aria-hidden": "true" });
  const told = h("p", { class: "fe-error", role: "alert", hidden: true });
  const invite = h("button", { type: "button", class: "fe-zone fe-low", onclick: () => chooser.click() }, icon("load"),
    h("span", {}, "Drop an earlier edit.mp4 or run.yaml here to get its settings back"));
  const cards = h("ul", { class: "fe-cards" });
  const none = h("p", { class: "fe-line fe-none", hidden: true }, "Your edits will appear here.");
  const more = h("button", { type: "button", class: "fe-button", hidden: true, onclick: () => load(items.at(-1)?.id) }, "Show more");
  const root = h("section", { class: "fe fe-history", "aria-label": "Earlier edits" }, chooser, invite, told, cards, none, more);
  element.replaceChildren(root);
  let items = [], depth = 0, dialog = null, asked = 0, busy = false;

  /** The cards behind the id `after`; without one all anew, as many as there were. */
  async function load(after) {
    const most = after ? PAGE : clamp(items.length, PAGE, MOST), own = ++asked;
    busy = true;
    try {
      const found = await request(`${api}/history?most=${most}${after ? `&after=${encodeURIComponent(after)}` : ""}`);
      if (own !== asked) return;
      items = after ? [...items, ...found] : found;
      if (!after) cards.replaceChildren();
      cards.append(...found.map(card));
      none.hidden = items.length > 0;
      more.hidden = found.length < most;
      say("");
    } catch (error) {
      if (own !== asked || error.away) return; // the page itself says so, and all is asked for again afterwards
      if (after && error.status === 404) load(); // it was deleted elsewhere
      else say(error.message);
    } finally {
      if (own === asked) busy = false;
      if (!more.hidden) watch();
    }
  }

  const ends = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && !busy && load(items.at(-1)?.id));
  const watch = () => {
    ends.unobserve(more); // an observer tells of a change alone: the button may be in sight still
    ends.observe(more);
  };
  const anew = () => load();
  addEventListener("fe-fresh", anew);

  function say(text) {
    told.textContent = sentence(text);
    told.hidden = !text;
  }

  function card(item) {
    const settings = { ...item.settings, ...item.said }, compared = item.methods;
    const title = compared ? `Compared: ${compared.join(", ").replaceAll("_", " ")}` : titleOf(settings);
    const poster = item.poster;
    const picture = poster ? h("img", { src: poster, alt: "", loading: "lazy" }) : h("span", { class: "fe-blank" }, icon("film"));
    picture.addEventListener("error", () => picture.replaceWith(h("span", { class: "fe-blank" }, icon("film"))));
    const open = h("button", { type: "button", class: "fe-open", onclick: () => onchoose(item) },
      h("span", { class: "fe-thumb" }, picture),
      h("span", { class: "fe-about" }, h("strong", { title }, title),
        h("span", {}, row(item.name, dayOf(item.created))),
        h("span", {}, row(item.state === "stopped" && "stopped early", ...(compared ? [titleOf(settings)] : wordsOf(settings))))));
    // two edits may be asked for in the same words: the button says which one it is
    const which = [title, item.name, dayOf(item.created), ...(compared ? [] : wordsOf(settings))].filter(Boolean).join(", ");
    const remove = iconButton("trash", `Delete: ${which}`, () => ask(item, title));
    remove.title = "Delete";
    return h("li", { class: `fe-card fe-past${compared ? " fe-compared" : ""}` }, open, remove);
  }

  function ask(item, title) {
    const answer = (yes) => {
      dialog.close();
      if (yes) ondelete(item.id);
    };
    dialog = h("dialog", { class: "fe fe-dialog", "aria-label": "Delete this edit?", onclose: (event) => event.target.remove() },
      h("h3", { class: "fe-title" }, "Delete this edit?"),
      h("p", {}, `“${title}” and its files are removed from the disk. This cannot be undone.`),
      h("div", { class: "fe-answers" },
        h("button", { type: "button", class: "fe-button", autofocus: true, onclick: () => answer(false) }, "Keep it"),
        h("button", { type: "button", class: "fe-button fe-bad", onclick: () => answer(true) }, "Delete")));
    root.append(dialog);
    dialog.showModal();
  }

  async function read(file) {
    if (!file) return;
    say("");
    invite.classList.add("fe-busy");
    const give = new FormData();
    give.append("file", file);
    try {
      const answer = await fetch(`${api}/settings`, { method: "POST", body: give });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(errorLine(said, answer.status));
      onchoose({ settings: said.settings, name: file.name, notices: said.notices });
    } catch (error) {
      say(error instanceof TypeError ? "the server does not answer; is it still running?" : error.message);
    }
    invite.classList.remove("fe-busy");
  }

  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const over = (on) => root.classList.toggle("fe-over", on);
  root.addEventListener("dragenter", (event) => carries(event) && over(++depth > 0));
  root.addEventListener("dragleave", (event) => carries(event) && over((depth = Math.max(0, depth - 1)) > 0));
  root.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  root.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    over((depth = 0) > 0);
    read(event.dataTransfer.files[0]);
  });
  chooser.addEventListener("change", () => {
    read(chooser.files[0]);
    chooser.value = "";
  });

  load();

  return {
    fresh: () => load(),
    destroy() {
      asked += 1;
      ends.disconnect();
      removeEventListener("fe-fresh", anew);
      dialog?.remove();
      root.remove();
    },
  };
}
