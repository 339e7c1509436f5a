/* Binds the parts to Gradio: each has one plain value; the page sets it, and the part sets it back with a change. */

import { watchServer } from "./away.js";
import { request } from "./parts.js";

watchServer();

let awaited = false; // whether the next result was asked for, and is no one that a reload brings again
let stands = null; // the id of the result that is shown

/** A result was asked for: it is brought into sight when it comes, or now where it stands already. */
function wait(id) {
  awaited = id !== stands;
  if (!awaited) front();
}

function front() {
  dispatchEvent(new Event("fe-front")); // the mask folds
  reveal(document.querySelector(".fe-player:has(.fe-result)"), true);
}

const PARTS = {
  async drop(element, props, tell) {
    const { mountDrop } = await import("./drop.js");
    const shown = mountDrop(element, {
      ...props.value,
      onclip: (clip, range = {}) => tell({ clip, limit: props.value?.limit, ...range }),
      onsettings: (taken) => tell({ ...props.value, taken }),
    });
    return (value) => shown.show(value?.clip ?? null, value ?? {});
  },
  async words(element, props, tell) {
    const { mountWords } = await import("./words.js");
    const draw = (value) =>
      mountWords(element, { sides: value?.sides ?? [], onchange: (chosen) => tell({ ...props.value, chosen }) });
    draw(props.value);
    return draw;
  },
  async maskfile(element, props, tell) {
    const { mountMaskFile } = await import("./maskfile.js");
    const draw = (value) => mountMaskFile(element, { file: value?.file ?? null, onfile: (file) => tell({ file, of: window.flowedit.kept().drop?.clip?.id ?? null }) });
    draw(props.value);
    return draw;
  },
  async options(element, props, tell) {
    const { mountOptions } = await import("./options.js");
    const entries = await request(new URL("options.json", import.meta.url));
    const shown = mountOptions(element, {
      ...props.value,
      entries,
      onchange: (values, wrong) => tell({ ...props.value, values, wrong }),
    });
    return (value) => shown.update(value);
  },
  async painter(element, props, tell) {
    const { mountPainter } = await import("./painter.js");
    let of = null;
    let shown = null;
    const draw = (value) => {
      const key = value?.look ? `${value.clip?.id}/${value.look}` : null;
      if (key === of) return;
      shown?.destroy?.();
      of = key;
      element.hidden = key === null;
      shown =
        key === null
          ? null
          : mountPainter(element, {
              ...value,
              onchange: (adjust) => tell({ ...props.value, adjust }),
              onaway: () => {
                tell({ look: null });
                draw(null);
              },
            });
      if (key !== null) reveal(element);
    };
    draw(props.value);
    return draw;
  },
  async live(element, props, tell) {
    const { mountLive } = await import("./live.js");
    let of = null;
    let shown = null;
    const draw = (value) => {
      const job = value?.job ?? null;
      if (job === of) return;
      shown?.destroy?.();
      of = job;
      element.hidden = job === null;
      if (job !== null) reveal(element);
      shown = job === null ? null : mountLive(element, {
        job,
        onend: (status) => {
          if (status.kind !== "look") wait(job);
          tell({ job, kind: status.kind, state: status.state });
        },
        onclose: () => {
          tell({ job: null });
          draw(null);
        },
      });
    };
    draw(props.value);
    return draw;
  },
  async player(element, props) {
    const { mountPlayer } = await import("./player.js");
    const { mountResult } = await import("./result.js");
    let shown = null;
    const draw = (value) => {
      shown?.destroy?.();
      element.hidden = !value?.player && !value?.report;
      shown = element.hidden ? null : mountResult(element, value, mountPlayer);
      stands = element.hidden ? null : value.id;
      if (awaited && !element.hidden) front();
      awaited = false;
    };
    draw(props.value);
    return draw;
  },
  async several(element, props, tell) {
    const { mountSeveral } = await import("./several.js");
    let shown = null;
    const draw = (value) => {
      shown?.destroy?.();
      element.hidden = !value?.items?.length;
      shown = element.hidden ? null : mountSeveral(element, value.items, {
        onchoose: (job) => {
          wait(job);
          tell({ ...props.value, chosen: job, at: Date.now() });
        },
        onaway: () => {
          tell({ items: [] });
          draw(null);
        },
      });
      if (!element.hidden) reveal(element);
    };
    draw(props.value);
    return draw;
  },
  async history(element, props, tell) {
    const { mountHistory } = await import("./history.js");
    const shown = mountHistory(element, {
      onchoose: (chosen) => {
        if (chosen.id) wait(chosen.id);
        tell({ ...props.value, chosen, deleted: null, at: Date.now() }); // the same one again is told of, too
      },
      ondelete: (deleted) => tell({ ...props.value, chosen: null, deleted, at: Date.now() }),
    });
    return () => shown.fresh();
  },
  async models(element, props, tell) {
    const { mountModels } = await import("./models.js");
    let shown = null;
    const draw = (value) => {
      shown?.destroy?.();
      shown = mountModels(element, value?.items ?? [], {
        chosen: value?.chosen,
        onchoose: (chosen) => tell({ ...props.value, chosen }),
      });
    };
    draw(props.value);
    return draw;
  },
};

const REST = 150; // milliseconds until what goes is gone, and what comes has its height

/** Brings what is new into sight, where it is not, and as a whole where that is wanted. */
function reveal(element, whole = false) {
  setTimeout(() => {
    if (!element?.isConnected) return;
    const { top, bottom } = element.getBoundingClientRect();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (top < 0 || top > 0.6 * innerHeight || (whole && bottom > innerHeight)) {
      element.scrollIntoView({ block: "start", behavior: still ? "instant" : "smooth" });
    }
  }, REST);
}

/** What a tab keeps of a part over a reload; nothing of those that the server knows. */
const KEPT = {
  drop: (value) => value,
  words: (value) => value,
  maskfile: (value) => value,
  options: ({ values }) => ({ values }),
  painter: (value) => value,
  live: (value) => value,
  player: (value) => ({ id: value?.id ?? null }),
  several: ({ items, clip }) => ({ items, clip }),
  models: ({ chosen }) => ({ chosen }),
};

/** Mounts the part `name`; what the page sets later is drawn, what the part itself said is not drawn again. */
export async function bind(name, element, props, watch) {
  const place = element.querySelector(`.fe-${name}`) ?? element;
  const keep = () => KEPT[name] && props.value && window.flowedit.keep(name, KEPT[name](props.value));
  let own = null;
  const draw = await PARTS[name](place, props, (value) => {
    own = JSON.stringify(value);
    props.value = value; // of which Gradio tells by itself, once for each new value
    keep();
  });
  watch("value", () => {
    if (JSON.stringify(props.value) === own) return;
    own = null;
    draw(props.value);
    keep();
  });
}
