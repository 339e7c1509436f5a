/* Several edits of one clip side by side: each appears when it is done, and all that are done play in step. */
import { mountGrid } from "./grid.js";

const EVERY = 700;
const OVER = ["done", "stopped", "failed"];

/** `items` is a list of {label, job}. `onchoose` hears the job to go on from. Returns {destroy}. */
export function mountSeveral(element, items, { onchoose, onaway }) {
  const told = document.createElement("p");
  told.className = "fe-note";
  told.setAttribute("role", "status");
  const place = document.createElement("div");
  const away = document.createElement("button");
  away.type = "button";
  away.className = "fe-quiet";
  away.textContent = "Put these away";
  away.addEventListener("click", () => onaway());
  element.replaceChildren(told, place, away);
  const ended = new Map();
  let grid = null;
  let timer = null;
  let gone = false;

  function draw() {
    grid?.destroy?.();
    const shown = items.filter(({ job }) => ended.get(job)?.player);
    grid = shown.length === 0 ? null : mountGrid(place, shown.map((item) => ({ ...item, player: ended.get(item.job).player })), { onchoose: (item) => onchoose(item.job ?? item) });
  }
  async function look() {
    const before = ended.size;
    for (const { job } of items) {
      if (ended.has(job) || gone) continue;
      try {
        const answer = await fetch(`/api/jobs/${job}`);
        if (answer.status === 404) ended.set(job, { state: "failed" });
        if (!answer.ok) continue;
        const status = await answer.json();
        if (OVER.includes(status.state)) ended.set(job, status);
      } catch {
        break; // the server is away for a while: ask again
      }
    }
    if (gone) return;
    if (ended.size !== before) {
      draw();
      dispatchEvent(new Event("fe-fresh")); // the history has one more
    }
    const failed = items.filter(({ job }) => ended.get(job)?.state === "failed");
    told.textContent =
      ended.size < items.length
        ? `${ended.size} of ${items.length} done`
        : failed.length > 0
          ? `Not made: ${failed.map(({ label, job }) => `${label} (${ended.get(job).message || "removed"})`).join(", ")}`
          : "";
    if (ended.size < items.length) timer = setTimeout(look, EVERY);
  }
  told.textContent = `0 of ${items.length} done`;
  look();
  return {
    destroy() {
      gone = true;
      clearTimeout(timer);
      grid?.destroy?.();
      element.replaceChildren();
    },
  };
}
