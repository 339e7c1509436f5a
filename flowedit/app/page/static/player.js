// Before and after in one player: a wipe between two tiles of one video, so that both are in step by construction.
import { clamp, h, icon, iconButton, press, relabel, writes } from "./parts.js";
import { clock, openReel, tileOf, tint } from "./reel.js";

/**
 * Mount a player into `element`. `player` is a job's `player`: {url, first, tiles, width, height, fps, frames, times,
 * has_audio};  * tiles are "source", "edit" and perhaps "mask", from top to bottom. Options: `autoplay`, `label`, `name` (what its
 * controls are called by), `onframe(frame)`.
 */
export function mountPlayer(element, player, options = {}) {
  const { tiles, frames } = player, { begin } = clock(player);
  const both = tiles.includes("source") && tiles.includes("edit"), masked = tiles.includes("mask");
  const front = tiles.includes("edit") ? "edit" : tiles[0];
  let wipe = both ? 0.5 : 0, showMask = false;

  const canvas = h("canvas", { role: "img", width: player.width, height: player.height });
  canvas.setAttribute("aria-label", both ? "The clip before the edit on the left, after it on the right" : "The clip");
  const ink = canvas.getContext("2d"), paint = tint();
  const handle = h("div", { class: "fe-wipe", role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-label": "Wipe between before and after", "aria-orientation": "horizontal" },
    h("span", { class: "fe-grip" }, icon("wipe")));
  const before = h("span", { class: "fe-tag fe-before" }, "Before"), after = h("span", { class: "fe-tag fe-after" }, "After");
  const told = h("p", { class: "fe-error", role: "alert", hidden: true });
  const stage = h("div", { class: "fe-stage" }, canvas, both && before, both && after, both && handle);
  stage.style.setProperty("--fe-ratio", player.width / player.height);
  stage.classList.toggle("fe-both", both);

  const what = options.name ?? (both ? "before and after" : "the clip"); // a page may have several: each control is named by its own
  const play = iconButton("play", `Play ${what}`, () => toggle(), "space");
  const scrub = h("input", { type: "range", class: "fe-scrub", min: 0, max: frames - 1, step: 1, value: 0, "aria-label": `Frame of ${what}` });
  const where = h("span", { class: "fe-where" });
  const loop = iconButton("loop", `Play ${what} again and again`, () => setLoop(!reel.video.loop), "L");
  const mask = masked && iconButton("mask", `Show what is edited in ${what}`, () => setMask(!showMask), "M");
  const sound = player.has_audio && iconButton("mute", `Sound of ${what} on`, () => setSound(reel.video.muted), "S");
  const full = document.fullscreenEnabled && iconButton("full", `Full screen of ${what}`, () => toggleFull(), "F");
  const timed = frames > 1; // a still has no time
  const controls = h("div", { class: "fe-bar" }, timed && h("div", { class: "fe-time-line" }, scrub, where),
    timed && h("div", { class: "fe-group" }, play, iconButton("back", `One frame back in ${what}`, () => reel.step(-1), ","),
      iconButton("on", `One frame on in ${what}`, () => reel.step(1), ".")),
    h("div", { class: "fe-group" }, timed && loop, mask, sound, full));
  const root = h("div", { class: "fe fe-player", role: "group",
    "aria-label": options.label ?? (both ? "Before and after" : "Clip"),
    "aria-keyshortcuts": "Space , . L M S F" }, h("div", { class: "fe-screen" }, stage), told, controls);
  element.replaceChildren(root);

  const reel = openReel(player, stage, {
    onframe(frame) {
      draw();
      scrub.value = frame;
      scrub.style.setProperty("--fe-share", frames > 1 ? frame / (frames - 1) : 0);
      where.textContent = `${frame + 1} / ${frames}`;
      scrub.setAttribute("aria-valuetext", `frame ${frame + 1} of ${frames}, ${begin(frame).toFixed(1)} seconds`);
      options.onframe?.(frame);
    },
    onfirst: () => draw(),
    onstate() {
      relabel(play, reel.playing ? "pause" : "play", `${reel.playing ? "Pause" : "Play"} ${what}`, "space");
    },
    onerror(text) {
      told.textContent = text;
      told.hidden = false;
    },
  });

  function draw() {
    const { picture } = reel, { width, height } = canvas;
    if (!picture) return;
    ink.drawImage(picture, ...tileOf(picture, tiles, front), 0, 0, width, height);
    const edge = Math.round(wipe * width);
    if (both && edge > 0) {
      const [x, y, tileWidth, tileHeight] = tileOf(picture, tiles, "source");
      ink.drawImage(picture, x, y, (edge / width) * tileWidth, tileHeight, 0, 0, edge, height);
    }
    if (showMask) paint(ink, picture, tileOf(picture, tiles, "mask"));
  }

  function setWipe(share) {
    wipe = clamp(share, 0, 1);
    const percent = Math.round(100 * wipe);
    stage.style.setProperty("--fe-wipe", wipe);
    handle.setAttribute("aria-valuenow", percent);
    handle.setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
    before.classList.toggle("fe-away", wipe < 0.18);
    after.classList.toggle("fe-away", wipe > 0.82);
    draw();
  }

  function setLoop(on) {
    reel.video.loop = on;
    press(loop, on);
  }

  function setMask(on) {
    showMask = on;
    press(mask, on);
    draw();
  }

  function setSound(on) {
    reel.video.muted = !on;
    relabel(sound, on ? "sound" : "mute", `Sound of ${what} ${on ? "off" : "on"}`, "S");
  }

  const toggle = () => (reel.playing ? reel.pause() : reel.play());
  const toggleFull = () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen());

  let resume = false;
  scrub.addEventListener("input", () => {
    resume = resume || reel.playing;
    reel.pause();
    reel.seek(Number(scrub.value));
  });
  scrub.addEventListener("change", () => {
    if (resume) reel.play();
    resume = false;
  });

  if (both) {
    const follow = (event) => {
      const place = canvas.getBoundingClientRect();
      setWipe((event.clientX - place.left) / place.width);
    };
    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      stage.setPointerCapture(event.pointerId);
      handle.focus({ preventScroll: true });
      event.preventDefault(); // else the press would move the focus on
      follow(event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (stage.hasPointerCapture(event.pointerId)) follow(event);
    });
  }

  const keys = {
    " ": toggle,
    ",": () => reel.step(-1),
    ".": () => reel.step(1),
    l: () => setLoop(!reel.video.loop),
    m: () => masked && setMask(!showMask),
    s: () => player.has_audio && setSound(reel.video.muted),
    f: () => full && toggleFull(),
  };
  const moves = {
    ArrowLeft: (far) => setWipe(wipe - far),
    ArrowRight: (far) => setWipe(wipe + far),
    Home: () => setWipe(0),
    End: () => setWipe(1),
  };
  root.addEventListener("keydown", (event) => {
    const { target } = event, range = target === scrub;
    if (event.ctrlKey || event.metaKey || event.altKey || writes(target)) return;
    if (event.key === " " && target.matches("button")) return; // a button is pressed by space
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key] ?? (both && !range && moves[event.key]);
    if (!act) return;
    act(event.shiftKey ? 0.1 : 0.02);
    event.preventDefault();
    event.stopPropagation();
  });

  setWipe(wipe);
  setLoop(true);
  if (masked) setMask(false);
  if (sound) setSound(false);
  if (options.autoplay && !matchMedia("(prefers-reduced-motion: reduce)").matches) reel.play();

  return {
    reel,
    setWipe,
    setMask: (on) => masked && setMask(on),
    destroy() {
      reel.close();
      root.remove();
    },
  };
}
