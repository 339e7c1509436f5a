// A clip comes in: dropped, chosen or pasted; its upload, what it holds, and the part of it that is edited.
import { bar, clamp, errorLine, h, icon, plural, request, sentence, size, writes } from "./parts.js";
import { mountTrim } from "./trim.js";

const TAKES = "video/*,image/png,image/jpeg,image/webp";
const PATH = /^("?)(file:\/\/|~?\/|[A-Za-z]:[\\/]|\\\\)[^\n]*\.\w{2,5}\1$/; // one line that names a file

/**
 * Mount a place for a clip into `element`. `onclip(clip, {start, frames})` is called after an upload and whenever the
 * part changes: `start` is its first frame, `frames` how many, null for all from there; `onclip(null)` when the clip is
 * taken away. `clip` is shown from the beginning, if given (and `start`, `frames`), and later by `show(clip, part)`: of
 * what is shown so, nothing is called. The clip that is there stays until another one is read: a file that cannot be
 * is told of in one line. Of one that is an edit made here it is asked what is wanted: `onsettings({settings, notices,
 * name})` hears its settings. `hint` is a second line under the invitation, `limit` the most bytes of a file.
 */
export function mountDrop(element, { onclip = () => {}, onsettings = () => {}, clip = null, start = null, frames = null, hint = "", limit = null, api = "/api" }) {
  const chooser = h("input", { type: "file", accept: TAKES, class: "fe-unseen", tabindex: -1, "aria-hidden": "true" });
  const told = h("p", { class: "fe-error", role: "alert", hidden: true });
  const body = h("div", { class: "fe-drop-body" });
  const root = h("section", { class: "fe fe-drop", "aria-label": "Your clip" }, chooser, body, told);
  element.replaceChildren(root);
  let upload = null, trim = null, depth = 0, held = null;

  function fail(text, name = "") {
    told.textContent = sentence(text, name);
    told.hidden = !text;
  }

  const refuse = (text, name) => fail(text && held ? `${text}. ${held.name} stays` : text, name);

  /** What was there before, as it was, and what is wrong with the file that was to take its place. */
  function back(text, name) {
    const part = trim?.part ?? {};
    show(held, part);
    refuse(text, name);
    body.querySelector("button").focus({ preventScroll: true });
  }

  function ask() {
    body.replaceChildren(h("button", { type: "button", class: "fe-zone", onclick: () => chooser.click() },
      icon("film"), h("strong", {}, "Drop a clip here, or choose one"),
      h("span", {}, hint || "A video or a still picture. You can paste one, too.")));
  }

  function send(file) {
    if (!file || upload) return;
    if (limit && file.size > limit) return refuse(`this file has ${size(file.size)}, and at most ${size(limit)} are taken`);
    fail("");
    trim?.pause();
    const progress = bar("Upload"), share = h("span", { class: "fe-where" }, "0 %");
    const doing = h("span", { role: "status" }, "Uploading");
    const give = new FormData();
    give.append("file", file);
    const sent = (upload = new XMLHttpRequest());
    body.replaceChildren(h("div", { class: "fe-card fe-sending" },
      h("header", { class: "fe-head" }, h("strong", { class: "fe-name" }, file.name || "pasted picture"),
        h("button", { type: "button", class: "fe-button", onclick: () => sent.abort() }, "Cancel")),
      progress.element, h("div", { class: "fe-lines" }, doing, share)));
    progress.set(0);
    let begun = false; // and not yet ended
    sent.upload.onprogress = (event) => {
      if (!event.lengthComputable) return;
      const done = event.loaded / event.total;
      begun = done < 1;
      progress.set(done < 1 ? done : null);
      doing.textContent = done < 1 ? "Uploading" : "Reading the clip";
      share.textContent = done < 1 ? `${Math.floor(100 * done)} % of ${size(event.total)}` : "";
    };
    const over = (text) => {
      upload = null;
      if (text !== null) back(text, file.name);
    };
    sent.onload = () => {
      const answer = sent.response ?? {};
      if (sent.status !== 201 && sent.status !== 200) return over(errorLine(answer, sent.status));
      over(null);
      return answer.made_here ? choose(answer, file) : take(answer);
    };
    const why = () => (begun ? "the server ended it; perhaps it is too large" : "the server does not answer; is it still running?");
    sent.onerror = () => over(`the clip did not arrive: ${why()}`);
    sent.onabort = () => over("");
    sent.responseType = "json";
    sent.open("POST", `${api}/clips`);
    sent.send(give);
    return undefined;
  }

  function take(shown) {
    show(shown);
    onclip(shown, trim.part);
  }

  /** An edit that was made here is seldom meant as a clip: what is wanted is asked. */
  function choose(made, file) {
    const button = (text, onclick) => h("button", { type: "button", class: "fe-button", onclick }, text);
    const question = h("p", { class: "fe-line" }, `${made.name} is an edit made here. What do you want of it?`);
    body.replaceChildren(h("div", { class: "fe-card fe-made", role: "group", "aria-label": "An edit made here" }, question,
      h("div", { class: "fe-answers" }, button("Take its settings", () => takeSettings(made, file)),
        button("Use it as the clip", () => take(made)))));
    body.querySelector("button").focus({ preventScroll: true });
  }

  async function takeSettings(made, file) {
    const give = new FormData();
    give.append("file", file);
    try {
      const said = await request(`${api}/settings`, { method: "POST", body: give });
      back("");
      onsettings({ ...said, name: made.name });
      await request(`${api}/clips/${made.id}`, { method: "DELETE" }).catch(() => {}); // nobody asked for this clip
    } catch (error) {
      back(error.message, made.name);
    }
  }

  function close() {
    trim?.destroy();
    trim = null;
  }

  function show(shown, part = {}) {
    close();
    fail("");
    held = shown;
    if (!shown) return ask();
    const place = h("div");
    const other = h("button", { type: "button", class: "fe-button fe-quiet", onclick: () => chooser.click() }, "Choose another");
    const away = h("button", { type: "button", class: "fe-button fe-quiet", onclick: () => clear() }, "Remove");
    body.replaceChildren(h("div", { class: "fe-card fe-clip" }, h("header", { class: "fe-head" },
      h("strong", { class: "fe-name", title: shown.name }, shown.name), h("span", { class: "fe-group" }, other, away)),
      place, facts(shown)));
    trim = mountTrim(place, shown, { start: part.start, frames: part.frames, onchange: (chosen) => onclip(shown, chosen) });
    return undefined;
  }

  function clear() {
    show(null);
    body.querySelector(".fe-zone").focus({ preventScroll: true });
    onclip(null);
  }

  const wanted = (data) => [...(data?.files ?? [])][0];
  const over = (on) => root.classList.toggle("fe-over", on);
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  root.addEventListener("dragenter", (event) => carries(event) && over(++depth > 0));
  root.addEventListener("dragleave", (event) => carries(event) && over((depth = clamp(depth - 1, 0, 99)) > 0));
  root.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  root.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    over((depth = 0) > 0);
    send(wanted(event.dataTransfer));
  });
  chooser.addEventListener("change", () => {
    send(chooser.files[0]);
    chooser.value = ""; // the same file again is a choice, too
  });
  const pasted = (event) => {
    const file = wanted(event.clipboardData), text = event.clipboardData?.getData("text/plain").trim() ?? "";
    if (file && (!file.type || /^(video|image)\//.test(file.type))) {
      event.preventDefault();
      send(file);
    } else if (!file && PATH.test(text) && !writes(event.target)) {
      fail(`a page may not read ${text.slice(0, 200)} from the disk by itself: choose the file here, or drop it`);
    }
  };
  // a file that misses its place would take the page away: what nobody else takes is a clip
  const missed = (event) => carries(event) && event.preventDefault();
  const dropped = (event) => {
    if (!carries(event) || event.defaultPrevented) return;
    event.preventDefault();
    send(wanted(event.dataTransfer));
  };
  const everywhere = { paste: pasted, dragover: missed, drop: dropped };
  for (const [name, act] of Object.entries(everywhere)) document.addEventListener(name, act);

  show(clip, { start, frames });

  return {
    show,
    clear,
    destroy() {
      for (const [name, act] of Object.entries(everywhere)) document.removeEventListener(name, act);
      upload?.abort();
      close();
      root.remove();
    },
  };
}

/** What a clip holds, in a row of short facts. */
function facts(clip) {
  const rows = [["Size", `${clip.width} × ${clip.height}`]];
  if (clip.still) rows.push(["Kind", "Still picture"]);
  else {
    rows.push(["Length", `${clip.seconds.toFixed(1)} s, ${plural(clip.frames, "frame")}`]);
    rows.push(["Rate", `${Number(clip.fps.toFixed(2))} frames a second`]);
    rows.push(["Sound", clip.has_audio ? "Yes, it is kept" : "None"]);
    rows.push(["Scenes", clip.scenes?.length > 1 ? `${clip.scenes.length}, each edited by itself` : "One"]);
  }
  return h("dl", { class: "fe-facts" }, ...rows.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
}
