// The part of a clip that is edited: two handles on one track over a strip of its frames, and the frame they stand on.
import { clamp, h, iconButton, plural, relabel, seconds } from "./parts.js";
import { clock, openReel } from "./reel.js";

const PICTURES = 9; // on the strip

/** Mount into `element`; `onchange({start, frames})` says the first frame of the part and how many it has, null for all. */
export function mountTrim(element, clip, { start, frames, onchange = () => {} }) {
  if (clip.still || clip.frames < 2) return mountStill(element, clip);
  const last = clip.frames - 1, { begin, middle } = clock(clip);
  let first = clamp(start ?? 0, 0, last), end = frames ? clamp(first + frames - 1, first, last) : last;
  let touched = false, filled = false;

  const canvas = h("canvas", { width: clip.width, height: clip.height, role: "img", "aria-label": "The frame you stand on" });
  const ink = canvas.getContext("2d");
  const poster = h("img", { src: clip.poster, alt: "" });
  const stage = h("div", { class: "fe-stage" }, poster, canvas);
  stage.style.setProperty("--fe-ratio", clip.width / clip.height);
  const play = iconButton("play", "Play this part", () => toggle());
  const strip = h("canvas", { class: "fe-strip", width: 720, height: 48, "aria-hidden": "true" });
  const from = handle("Start of the part"), to = handle("End of the part"); // they stand outside of what they keep, and never on each other
  const cuts = (clip.scenes ?? []).filter((frame) => frame > 0).map((frame) => {
    const mark = h("span", { class: "fe-cut", title: "a new scene begins" });
    mark.style.left = `${(100 * frame) / last}%`;
    return mark;
  });
  const track = h("div", { class: "fe-trim" }, strip, h("span", { class: "fe-kept" }), ...cuts, from, to);
  const words = h("output", { class: "fe-part" });
  const root = h("div", { class: "fe-trimmer" }, stage, h("div", { class: "fe-trim-row" }, play, track), words);
  element.replaceChildren(root);

  function handle(label) {
    return h("input", { type: "range", min: 0, max: last, step: 1, "aria-label": label });
  }

  const reel = openReel({ ...clip, url: clip.video }, stage, {
    onframe(frame) {
      if (reel.playing && (frame > end || frame < first)) return reel.playing && restart();
      if (!filled && !touched) return undefined; // the strip is being drawn
      canvas.classList.add("fe-seen");
      return ink.drawImage(reel.video, 0, 0, canvas.width, canvas.height);
    },
    onstate: () => relabel(play, reel.playing ? "pause" : "play", reel.playing ? "Pause this part" : "Play this part"),
    onerror: (text) => (words.textContent = text),
  });

  reel.video.loop = true;
  const restart = () => (reel.video.currentTime = middle(first));

  async function toggle() {
    if (reel.playing) return reel.pause();
    touched = true;
    if (reel.frame >= end || reel.frame < first) await reel.at(first);
    return reel.play();
  }

  function show() {
    from.value = first;
    to.value = end;
    track.style.setProperty("--fe-from", first / last);
    track.style.setProperty("--fe-to", end / last);
    for (const [input, frame] of [[from, first], [to, end]]) {
      input.setAttribute("aria-valuetext", `frame ${frame + 1}, ${seconds(begin(frame))}`);
    }
    const count = end - first + 1, whole = count === clip.frames, lasts = begin(end + 1) - begin(first);
    words.textContent = whole
      ? `The whole clip: ${seconds(lasts)}, ${plural(count, "frame")}`
      : `From ${seconds(begin(first))} to ${seconds(begin(end + 1))}: ${seconds(lasts)}, ${plural(count, "frame")}`;
  }

  function move(input) {
    touched = true;
    reel.pause();
    if (input === from) first = Math.min(Number(from.value), end);
    else end = Math.max(Number(to.value), first);
    show();
    reel.seek(input === from ? first : end);
    onchange(part());
  }

  const part = () => ({ start: first, frames: end === last ? null : end - first + 1 });
  for (const input of [from, to]) input.addEventListener("input", () => move(input));

  async function fill() {
    const pencil = strip.getContext("2d"), width = strip.width / PICTURES, height = strip.height;
    const share = Math.max(width / clip.width, height / clip.height);
    const [across, down] = [width / share, height / share];
    for (let place = 0; place < PICTURES; place++) {
      await reel.at(Math.round(((place + 0.5) / PICTURES) * last));
      if (touched) break;
      pencil.drawImage(reel.video, (clip.width - across) / 2, (clip.height - down) / 2, across, down, place * width, 0, width, height);
    }
    filled = true;
    if (!touched) reel.seek(first);
  }

  show();
  fill();

  return {
    get part() {
      return part();
    },
    pause: () => reel.pause(),
    destroy() {
      reel.close();
      root.remove();
    },
  };
}

function mountStill(element, clip) {
  const stage = h("div", { class: "fe-stage" }, h("img", { src: clip.poster, alt: "Your picture" }));
  stage.style.setProperty("--fe-ratio", clip.width / clip.height);
  element.replaceChildren(stage);
  return { part: { start: 0, frames: null }, pause: () => {}, destroy: () => stage.remove() };
}
