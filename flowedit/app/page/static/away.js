// Says within a second that the server does not answer, for as long as it does not; parts hear "fe-fresh" when it is back.
import { h } from "./parts.js";

const EVERY = 800, PATIENCE = 3000; // milliseconds between two questions; how long a busy server may take to answer
const LINE = "The studio does not answer: is it still running? It goes on by itself when it is back.";

/** Watch the server for the whole page, while it is in sight; the line stands at its head. */
export function watchServer({ api = "/api" } = {}) {
  const line = h("p", { class: "fe fe-gone", role: "alert", hidden: true }, LINE);
  let timer = 0, asking = false, closed = false;
  document.body.append(line);

  function tell(away) {
    if (line.hidden !== away) return;
    line.hidden = !away;
    if (!away) dispatchEvent(new Event("fe-fresh"));
  }

  async function look() {
    if (asking || document.hidden) return;
    asking = true;
    const late = setTimeout(() => tell(true), PATIENCE);
    const answers = await fetch(`${api}/limits`, { cache: "no-store" }).then((answer) => answer.status < 500, () => false);
    clearTimeout(late);
    clearTimeout(timer);
    asking = false;
    if (closed) return;
    tell(!answers);
    timer = setTimeout(look, EVERY);
  }

  document.addEventListener("visibilitychange", look);
  look();

  return {
    destroy() {
      document.removeEventListener("visibilitychange", look);
      clearTimeout(timer);
      closed = true;
      line.remove();
    },
  };
}
