// A job as it runs: its place in the line, its phase, time left, a picture that forms, and Stop.
import { bar, clamp, duration, h, icon, left, plural, Refusal, request, sentence } from "./parts.js";

const OVER = ["done", "stopped", "failed"];
const EVERY = 400, MOST = 3000; // milliseconds between two questions; the longest pause while the server is away
const PHASES = {
  load: "Loading the model",
  read: "Reading the clip",
  "find cuts": "Looking for cuts between scenes",
  "follow marks": "Following what you marked",
  encode: "Preparing the clip",
  embed: "Reading your words",
  look: "Looking for what you named",
  edit: "Editing",
  invert: "Looking closely at the clip",
  decode: "Turning it back into a picture",
  "decode, write": "Writing the video",
  "decode and write": "Writing the video",
  "round trip": "Checking",
};

const COUNTED = { // what a phase counts; of the others nothing is said
  edit: "Step", invert: "Step", look: "Step", read: "Frame", "find cuts": "Frame", "follow marks": "Frame",
  encode: "Frame", decode: "Frame", "decode, write": "Frame",
};

/** A phase in plain words; one that is not known here is shown as the server names it. */
export const phaseWords = (phase) => PHASES[phase] ?? sentence(phase || "starting");

/** "Frame 34 of 41", "Step 2 of 20"; a comparison counts its methods. */
function countOf({ kind, phase, done, total }) {
  const unit = kind === "compare" ? phase === "edit" && "Method" : COUNTED[phase];
  return unit && total > 1 ? `${unit} ${Math.min(done + 1, total)} of ${total}` : "";
}

/**
 * Mount the state of `job` (its id) into `element`; `onend(status)` is called once, when it is over or gone. One that
 * left nothing can be closed: it is deleted, and `onclose()` called. Of a job that is one of several, `lead` stands
 * before its title, `stopWords` on its button, and `beside` are more buttons.
 */
export function mountLive(element, { job, onend = () => {}, onclose = () => {}, lead = "", stopWords = "Stop", beside = [], api = "/api" }) {
  const url = `${api}/jobs/${encodeURIComponent(job)}`;
  const title = h("h3", { class: "fe-title", tabindex: -1 }, `${lead}Asking the server`);
  const entitle = (text) => (title.textContent = `${lead}${text}`);
  const stop = h("button", { type: "button", class: "fe-button", onclick: () => askToStop() }, icon("stop"), stopWords);
  const close = h("button", { type: "button", class: "fe-button", hidden: true, onclick: () => putAway() }, icon("clear"), "Close");
  const progress = bar("Progress of the whole edit");
  const line = h("p", { class: "fe-line" }), time = h("p", { class: "fe-line fe-time" });
  const picture = h("img", { alt: "The middle of the clip as it forms" });
  const figure = h("figure", { class: "fe-preview", hidden: true }, picture,
    h("figcaption", {}, "A first look at one frame. It gets sharper as the edit goes on."));
  const notices = h("ul", { class: "fe-notices", hidden: true });
  const told = h("p", { class: "fe-error", role: "alert", hidden: true });
  const spoken = h("p", { class: "fe-unseen", role: "status", "aria-live": "polite" });
  const root = h("section", { class: "fe fe-card fe-live", "aria-label": "Progress" },
    h("header", { class: "fe-head" }, title, h("div", { class: "fe-answers" }, stop, close, ...beside)), progress.element,
    h("div", { class: "fe-lines" }, line, time), figure, told, notices, spoken);
  element.replaceChildren(root);

  let timer = 0, closed = false, over = false, failures = 0, stopping = false, last = null, said = "", seen = "";
  const cancel = new AbortController();

  function say(text) {
    if (text === said) return;
    said = text;
    spoken.textContent = text;
  }

  async function look() {
    let status;
    try {
      status = await request(url, { signal: cancel.signal });
    } catch (error) {
      if (closed || error.name === "AbortError") return;
      if (!error.away) return end({ ...last, id: job, state: "gone", message: gone(error) });
      away();
      return again();
    }
    if (closed) return;
    failures = 0;
    last = status;
    root.classList.remove("fe-waits");
    if (OVER.includes(status.state)) end(status);
    else {
      show(status);
      again();
    }
  }

  const gone = (error) => (error.status === 404 ? "This edit is no longer here." : error.message);

  const again = () => (timer = setTimeout(look, clamp(EVERY * 1.5 ** failures, EVERY, MOST)));

  function away() {
    failures += 1;
    if (failures < 2) return; // a single lost answer is not worth a word
    root.classList.add("fe-waits");
    entitle("Waiting for the server");
    line.textContent = "It does not answer at the moment. Your edit is kept, and goes on when the server is back.";
    time.textContent = "";
    say("Waiting for the server");
  }

  function show(status) {
    const halting = stopping || status.phase === "stopping";
    if (halting) hideStop();
    if (status.state === "queued") {
      entitle(status.place > 1 ? `${plural(status.place, "edit")} before yours` : "Yours is next");
      line.textContent = "It starts by itself. You can close this page and come back.";
      time.textContent = "";
      progress.set(0);
      say(title.textContent);
      return;
    }
    entitle(halting ? haltWords(status.phase) : phaseWords(status.phase));
    line.textContent = countOf(status);
    if (Number.isFinite(status.seconds_left)) time.textContent = left(status.seconds_left);
    else time.textContent = status.seconds > 1 ? `${duration(status.seconds)} so far` : "";
    progress.set(Number.isFinite(status.fraction) ? status.fraction : null);
    say(`${title.textContent}${status.fraction >= 0.25 ? `, ${25 * Math.floor(4 * status.fraction)} % done` : ""}`);
    showPicture(status);
    showNotices(status.notices ?? []);
  }

  /** After Stop the steps end, and what there is is still written. */
  const haltWords = (phase) => (phase === "stopping" || COUNTED[phase] === "Step" ? "Stopping after this step"
    : /write|decode/.test(phase) ? "Stopped: writing what there is" : "Stopping");

  /** Stop was heard: its place is the title's, which says so. */
  function hideStop() {
    if (stop.hidden) return;
    const held = document.activeElement === stop;
    stop.hidden = true;
    if (held) title.focus({ preventScroll: true });
  }

  // the address stays the same while the picture changes: a query asks for the new one
  function showPicture(status) {
    if (!status.preview) return;
    const address = status.preview.includes("?") ? status.preview : `${status.preview}?${status.done}`;
    if (address === seen) return;
    seen = address;
    const next = new Image();
    next.onload = () => {
      picture.src = address;
      figure.hidden = over;
    };
    next.src = address;
  }

  function showNotices(texts) {
    notices.hidden = texts.length === 0;
    if (notices.childElementCount !== texts.length) notices.replaceChildren(...texts.map((text) => h("li", {}, text)));
  }

  function end(status) {
    over = true;
    stop.hidden = true;
    close.hidden = status.state === "done" || Object.keys(status.files ?? {}).length > 0;
    root.classList.remove("fe-waits");
    root.classList.add("fe-over");
    const took = Number.isFinite(status.seconds) ? ` in ${duration(status.seconds)}` : "";
    const titles = { done: `Done${took}`, stopped: "Stopped", failed: "This did not work", gone: "Not here any more" };
    entitle(titles[status.state]);
    line.textContent = status.state === "stopped" ? status.message || "What was done so far is kept." : "";
    time.textContent = "";
    figure.hidden = true;
    if (status.state === "done") progress.set(1);
    else progress.element.hidden = true;
    if (status.state === "failed" || status.state === "gone") {
      told.textContent = sentence(status.message || "the server gave no reason");
      told.hidden = false;
    }
    showNotices(status.notices ?? []);
    say(title.textContent);
    onend(status);
  }

  async function putAway() {
    close.disabled = true;
    try {
      await request(url, { method: "DELETE" });
    } catch (error) {
      if (error.status !== 404) {
        told.textContent = sentence(error.message);
        told.hidden = false;
        close.disabled = false;
        return;
      }
    }
    onclose();
  }

  async function askToStop() {
    stopping = true;
    hideStop();
    entitle(haltWords(last?.phase ?? ""));
    told.hidden = true;
    try {
      await request(`${url}/stop`, { method: "POST" });
    } catch (error) {
      if (!(error instanceof Refusal) || over) return;
      stopping = false;
      stop.hidden = false;
      told.textContent = sentence(error.message);
      told.hidden = false;
    }
  }

  progress.set(null);
  look();

  return {
    destroy() {
      closed = true;
      clearTimeout(timer);
      cancel.abort();
      root.remove();
    },
  };
}
