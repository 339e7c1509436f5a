// Several edits side by side, in step: one clock, one set of controls, and a button to go on from one of them.
import { h, iconButton, press, relabel, writes } from "./parts.js";
import { clock, openReel, tileOf, tint } from "./reel.js";

/**
 * Mount `items`, a list of {label, player, ...}, into `element`; `onchoose(item)` when one is to be gone on from.
 * Shorter ones wait on their last frame.
 */
export function mountGrid(element, items, { onchoose = () => {}, action = "Go on from this" } = {}) {
  const [{ player: lead }] = items, { fps } = lead;
  const frames = Math.max(...items.map(({ player }) => player.frames));
  let shows = "edit", showMask = false, frame = 0, playing = false, looped = true, runs = 0;

  const cells = items.map((item) => {
    const { player, label } = item, canvas = h("canvas", { width: player.width, height: player.height, role: "img", "aria-label": label });
    const told = h("p", { class: "fe-error", role: "alert", hidden: true });
    const stage = h("div", { class: "fe-stage" }, canvas);
    stage.style.setProperty("--fe-ratio", player.width / player.height);
    const button = h("button", { type: "button", class: "fe-button", onclick: () => onchoose(item) }, action);
    button.setAttribute("aria-label", `${action}: ${label}`);
    const figure = h("figure", { class: "fe-card fe-cell" }, h("div", { class: "fe-screen" }, stage), told,
      h("figcaption", {}, h("strong", { class: "fe-name", title: label }, label), button));
    const ink = canvas.getContext("2d"), paint = tint();
    const cell = { player, figure, draw };
    cell.reel = openReel(player, stage, {
      onframe: (index) => {
        draw();
        if (cell === cells[0]) tick(index);
      },
      onfirst: draw,
      onerror: (text) => {
        told.textContent = text;
        told.hidden = false;
      },
    });
    function draw() {
      const { picture } = cell.reel, { tiles } = player;
      if (!picture) return;
      ink.drawImage(picture, ...tileOf(picture, tiles, tiles.includes(shows) ? shows : tiles[0]), 0, 0, canvas.width, canvas.height);
      if (showMask && tiles.includes("mask")) paint(ink, picture, tileOf(picture, tiles, "mask"));
    }
    return cell;
  });
  const figures = cells.map(({ figure }) => figure);
  const longest = cells.find(({ player }) => player.frames === frames);
  cells.sort((one, two) => (two === longest) - (one === longest)); // the first one is the clock

  const play = iconButton("play", "Play all", () => toggle(), "space");
  const scrub = h("input", { type: "range", class: "fe-scrub", min: 0, max: frames - 1, value: 0, "aria-label": "Frame of all" });
  const where = h("span", { class: "fe-where" });
  const loop = iconButton("loop", "Play all again and again", () => press(loop, (looped = !looped)), "L");
  const before = h("button", { type: "button", class: "fe-button fe-tool", title: "Before (B)", onclick: () => setBefore(shows === "edit") }, "Before");
  const masked = items.some(({ player }) => player.tiles.includes("mask"));
  const mask = masked && iconButton("mask", "Show what is edited in all", () => setMask(!showMask), "M");
  const root = h("div", { class: items.length === 4 ? "fe fe-grid fe-four" : "fe fe-grid", role: "group", "aria-label": "Edits side by side" },
    h("div", { class: "fe-cells" }, ...figures),
    h("div", { class: "fe-bar fe-rail" }, h("div", { class: "fe-time-line" }, scrub, where),
      h("div", { class: "fe-group" }, play,
      iconButton("back", "One frame back in all", () => step(-1), ","), iconButton("on", "One frame on in all", () => step(1), ".")),
      h("div", { class: "fe-group" }, before, loop, mask)));
  element.replaceChildren(root);

  function show(index) {
    frame = index;
    scrub.value = index;
    scrub.style.setProperty("--fe-share", frames > 1 ? index / (frames - 1) : 0);
    scrub.setAttribute("aria-valuetext", `frame ${index + 1} of ${frames}`);
    where.textContent = `${index + 1} / ${frames}`;
  }

  /** The clock shows a frame: the others are held to it, small lags by their rate, since a seek stalls for longer. */
  function tick(index) {
    show(index);
    if (!playing) return;
    const now = cells[0].reel.video.currentTime;
    for (const { reel: { video }, player } of cells.slice(1)) {
      if (video.ended || now > clock(player).begin(player.frames)) continue;
      const ahead = video.currentTime - now;
      if (Math.abs(ahead) > 0.5) video.currentTime = now;
      else video.playbackRate = Math.abs(ahead) < 0.2 / fps ? 1 : 1 - Math.max(-0.5, Math.min(0.5, 6 * ahead));
    }
  }

  function mark(on) {
    playing = on;
    relabel(play, on ? "pause" : "play", on ? "Pause all" : "Play all", "space");
  }

  function pause() {
    runs += 1;
    mark(false);
    for (const { reel } of cells) reel.pause();
  }

  function seek(index) {
    show(Math.max(0, Math.min(frames - 1, index)));
    for (const { reel } of cells) reel.seek(frame);
  }

  function step(count) {
    const from = frame;
    pause();
    seek(from + count);
  }

  async function start(from) {
    pause();
    const own = runs;
    mark(true);
    show(from);
    await Promise.all(cells.map(({ reel }) => reel.at(from))); // they set off together
    if (own !== runs) return;
    for (const { reel } of cells) reel.video.playbackRate = 1;
    await Promise.all(cells.filter(({ player }) => from < player.frames - 1).map(({ reel }) => reel.play()));
  }

  const toggle = () => {
    if (!playing) return start(frame < frames - 1 ? frame : 0);
    const at = frame;
    pause();
    return seek(at);
  };
  cells[0].reel.video.addEventListener("ended", () => {
    if (!playing) return;
    if (looped) start(0);
    else {
      pause();
      seek(frames - 1);
    }
  });

  const redraw = () => cells.forEach((cell) => cell.draw());
  function setBefore(on) {
    shows = on ? "source" : "edit";
    press(before, on);
    redraw();
  }
  function setMask(on) {
    showMask = on;
    press(mask, on);
    redraw();
  }

  let resume = false;
  scrub.addEventListener("input", () => {
    const to = Number(scrub.value);
    resume = resume || playing;
    pause();
    seek(to);
  });
  scrub.addEventListener("change", () => {
    if (resume) start(frame);
    resume = false;
  });

  const keys = { " ": toggle, ",": () => step(-1), ".": () => step(1), l: () => loop.click(), b: () => before.click(), m: () => mask && mask.click() };
  root.addEventListener("keydown", (event) => {
    const act = keys[event.key.toLowerCase()];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || writes(event.target)) return;
    if (event.key === " " && event.target.matches("button")) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  });

  press(loop, true);
  press(before, false);
  if (mask) press(mask, false);
  show(0);

  return {
    seek,
    destroy() {
      runs += 1;
      playing = false;
      for (const { reel } of cells) reel.close();
      root.remove();
    },
  };
}
