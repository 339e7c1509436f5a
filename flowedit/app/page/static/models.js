// The models as cards: what each needs, whether it fits this machine, and its download, which only a click begins.
import { bar, duration, h, icon, request, sentence, size } from "./parts.js";

const EVERY = 700; // milliseconds between two questions while something is downloaded
const PLAIN = { pocket: "A small model that comes with flowedit, to try things out" };

/**
 * Mount `backbones`, as the API lists them, into `element`: {name, downloaded, download (its size in words), fits,
 * verdict, license, size [width, height], frames, fetch: null or {state, done, total, message}}. `chosen` is the one
 * in use; `onchoose(name)` when another is taken.
 */
export function mountModels(element, backbones, { chosen = null, onchoose = () => {}, api = "/api" } = {}) {
  let taken = chosen, timer = 0, closed = false;
  const rates = {}; // name -> [time, bytes] of the first look at a download
  const cards = new Map(backbones.map((backbone) => [backbone.name, card(backbone)]));
  const told = h("p", { class: "fe-error", role: "alert", hidden: true });
  const root = h("section", { class: "fe fe-models", "aria-label": "Models" },
    h("div", { class: "fe-shelf" }, ...[...cards.values()].map((each) => each.element)), told);
  element.replaceChildren(root);

  function card(backbone) {
    const { name } = backbone, progress = bar(`Download of ${name}`);
    const state = h("p", { class: "fe-state" }), line = h("p", { class: "fe-line", role: "status" });
    const buttons = h("div", { class: "fe-answers" });
    const lines = [worksAt(backbone) ?? "", backbone.license ? `License: ${backbone.license}` : (PLAIN[name] ?? "")];
    const article = h("article", { class: "fe-card fe-model" },
      h("header", { class: "fe-head" }, h("h3", { class: "fe-title" }, name), state),
      ...lines.map((text) => h("p", { class: "fe-line" }, text)),
      h("p", { class: backbone.fits ? "fe-fits" : "fe-fits fe-not" }, icon(backbone.fits ? "check" : "clear"), fitWords(backbone)),
      h("div", {}, progress.element, line, buttons)); // as many rows on every card: they are lines of one grid
    article.setAttribute("aria-label", name);
    const made = { element: article, backbone, update };
    let drawn = "";

    function update() {
      const { fetch: fetching, downloaded, download } = made.backbone, loading = fetching?.state === "downloading";
      article.classList.toggle("fe-taken", name === taken);
      state.textContent = name === taken ? "In use" : downloaded ? "Ready" : "";
      state.classList.toggle("fe-on", name === taken);
      progress.element.hidden = !loading;
      if (loading) progress.set(fetching.total ? fetching.done / fetching.total : null);
      line.textContent = loading ? speed(name, fetching) : downloaded ? "" : sentence(fetching?.message ?? "");
      line.hidden = !line.textContent;
      const kind = loading ? "stop" : downloaded ? (name === taken ? "" : "use") : fetching?.done ? "resume" : "load";
      if (kind === drawn) return;
      drawn = kind;
      const held = buttons.contains(document.activeElement);
      buttons.replaceChildren(...{
        "": () => [],
        stop: () => [button("Stop the download", () => act("stop"))],
        use: () => [button("Use this model", take, "fe-main")],
        resume: () => [button("Go on with the download", () => act("download"))],
        load: () => [button(download ? `Download ${download}` : "Download", () => act("download"))],
      }[kind]());
      if (held) buttons.firstChild?.focus();
    }

    const button = (text, onclick, more = "") =>
      h("button", { type: "button", class: `fe-button ${more}`, "aria-label": `${text}: ${name}`, onclick }, text);

    function take() {
      taken = name;
      for (const each of cards.values()) each.update();
      onchoose(name);
    }

    async function act(what) {
      told.hidden = true;
      delete rates[name];
      try {
        await request(`${api}/backbones/${encodeURIComponent(name)}/${what}`, { method: "POST" });
      } catch (error) {
        told.textContent = sentence(error.message);
        told.hidden = false;
      }
      look();
    }

    return made;
  }

  function speed(name, { done, total }) {
    const now = performance.now() / 1000;
    const [since, from] = (rates[name] ??= [now, done]), rate = now - since > 2 ? (done - from) / (now - since) : 0;
    const share = total ? `${size(done)} of ${size(total)}` : `${size(done)}`;
    return rate > 0 && total ? `${share}, about ${duration((total - done) / rate)} left` : share;
  }

  async function look() {
    clearTimeout(timer);
    let fresh = [];
    try {
      fresh = await request(`${api}/backbones`);
      told.hidden = told.dataset.away ? true : told.hidden;
      delete told.dataset.away;
    } catch (error) {
      if (closed) return;
      told.textContent = sentence(error.message);
      told.hidden = false;
      told.dataset.away = "yes";
    }
    if (closed) return;
    for (const backbone of fresh) {
      const each = cards.get(backbone.name);
      if (each) each.backbone = backbone;
      each?.update();
    }
    again();
  }

  function again() {
    const loads = [...cards.values()].some(({ backbone }) => backbone.fetch?.state === "downloading");
    if (loads) timer = setTimeout(look, EVERY);
  }

  for (const each of cards.values()) each.update();
  again();

  return {
    destroy() {
      closed = true;
      clearTimeout(timer);
      root.remove();
    },
  };
}

const worksAt = ({ size: shape, frames }) =>
  shape ? `Works at ${shape[0]} × ${shape[1]}${frames ? `, up to ${frames} frames at a time` : ""}` : null;

/** The doctor's verdict as a sentence of its own. */
const fitWords = ({ fits, verdict }) =>
  sentence(verdict || (fits ? "fits this machine" : "it is not known whether it fits this machine"));
