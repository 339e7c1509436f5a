/* Several edits of one clip side by side: the one that runs as any other, and all that are done play in step. */
import { mountGrid } from "./grid.js";
import { mountLive } from "./live.js";
import { h, icon, request, Refusal, sentence } from "./parts.js";

const GONE = 404;

/** `items` is a list of {label, job}. `onchoose` hears the job to go on from. Returns {destroy}. */
export function mountSeveral(element, items, { onchoose, onaway, api = "/api" }) {
  const told = h("p", { class: "fe-note", role: "status" });
  const refused = h("p", { class: "fe-error", role: "alert", hidden: true });
  const run = h("div", { class: "fe-run" }), place = h("div");
  const away = h("button", { type: "button", class: "fe-quiet", onclick: () => onaway() });
  element.replaceChildren(run, refused, told, place, away);
  const ended = new Map();
  let grid = null, live = null, shown = 0, closed = false;

  function draw() {
    const playable = items.filter(({ job }) => ended.get(job)?.player);
    if (playable.length === shown) return;
    shown = playable.length;
    grid?.destroy?.();
    const cells = playable.map((item) => ({ ...item, player: ended.get(item.job).player }));
    grid = mountGrid(place, cells, { onchoose: (item) => onchoose(item.job ?? item) });
  }

  const next = () => items.findIndex(({ job }) => !ended.has(job));

  /** The first that is not over has the card of an edit; its end brings the next one. */
  function follow() {
    live?.destroy();
    const index = next(), over = index < 0;
    live = over ? null : mountLive(run, {
      job: items[index].job,
      lead: `${index + 1} of ${items.length}, ${items[index].label}: `,
      stopWords: "Stop this one",
      beside: index < items.length - 1 ? [h("button", { type: "button", class: "fe-button", onclick: stopAll }, icon("stop"), "Stop all")] : [],
      onend: (status) => {
        ended.set(items[index].job, status);
        dispatchEvent(new Event("fe-fresh")); // the history has one more
        draw();
        setTimeout(() => closed || follow());
      },
      api,
    });
    away.textContent = over ? "Put these away (they stay in Your edits)" : "Put these away (they go on, and come to Your edits)";
    if (!over) return;
    const none = items.filter(({ job }) => !ended.get(job).player);
    const why = ({ job }) => (ended.get(job).state === "stopped" ? "stopped" : (ended.get(job).message ?? "removed"));
    told.textContent = none.length ? `Not made: ${none.map((item) => `${item.label} (${why(item)})`).join(", ")}` : `Done: all ${items.length}`;
  }

  /** The last ones first, so that none of them begins in between. */
  async function stopAll(event) {
    event.currentTarget.disabled = true;
    for (const { job } of items.slice(next()).reverse()) {
      try {
        await request(`${api}/jobs/${encodeURIComponent(job)}/stop`, { method: "POST" });
      } catch (error) {
        if (!(error instanceof Refusal) || error.status === GONE) continue; // it is over by itself
        refused.textContent = sentence(error.message);
        refused.hidden = false;
      }
    }
  }

  follow();
  return {
    destroy() {
      closed = true;
      live?.destroy();
      grid?.destroy?.();
      element.replaceChildren();
    },
  };
}
