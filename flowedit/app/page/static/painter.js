// Where an edit may change the clip: the mask over a frame, two sliders, and a brush, an eraser and a box to mend it.
import { clamp, h, icon, iconButton, press, request, sentence } from "./parts.js";
import { clock, openReel, tint } from "./reel.js";

const PAUSE = 120; // milliseconds that a slider rests before the server is asked
const CLOSE = 0.004; // points nearer than this are one
const WIDEST = 960;
const PAINT = "rgb(255 45 120 / 60%)";
const TOOLS = { brush: ["brush", "Paint", "B"], erase: ["eraser", "Erase", "E"], box: ["box", "Box", "R"] };
const NOTHING = { quantile: null, grow: null, strokes: [], boxes: [] };

/**
 * Mount into `element`. `clip` is a clip's JSON, `look` the id of a look at the mask, `adjust` where to begin:
 * {quantile, grow, strokes, boxes}. `start` is the frame of the clip that is the mask's first, `fps` its rate where it
 * is not the clip's. `onchange(adjust)` is called after every change, `onaway()` when the mask is not wanted.
 */
export function mountPainter(element, { clip, look, adjust = {}, start = 0, fps = null, onchange = () => {}, onaway = null, api = "/api" }) {
  let now = { ...NOTHING, ...adjust }, past = [], tool = "brush", radius = 0.04;
  let strip = null, frames = 1, sent = 0, shown = 0, timer = 0, closed = false;
  let drawn = null; // the stroke or the box under the pointer
  let waiting = []; // strokes and boxes that the server has not answered yet
  let cursor = null, byKeys = false;

  const width = Math.min(WIDEST, clip.width), height = Math.round((width / clip.width) * clip.height);
  const canvas = h("canvas", { width, height, tabindex: 0, role: "application",
    "aria-label": "The frame to paint on. Arrow keys move the brush, hold space to paint, comma and full stop change the frame." });
  const ink = canvas.getContext("2d"), paintMask = tint(0.5);
  const still = h("img", { src: clip.poster, alt: "", hidden: true });
  const stage = h("div", { class: "fe-stage fe-paintable" }, canvas, still);
  stage.style.setProperty("--fe-ratio", clip.width / clip.height);

  const tools = Object.fromEntries(Object.entries(TOOLS).map(([name, [drawing, label, key]]) => [name,
    h("button", { type: "button", class: "fe-button fe-tool", title: `${label} (${key})`, onclick: () => choose(name) }, icon(drawing), label)]));
  const large = slider("Size of the brush", 1, 20, 100 * radius, (value) => (radius = value / 100), (value) => `${value} %`);
  const undo = h("button", { type: "button", class: "fe-button fe-quiet", title: "Undo (Ctrl Z)", onclick: () => back() }, icon("undo"), "Undo");
  const clear = h("button", { type: "button", class: "fe-button fe-quiet", onclick: () => wipe() }, "Clear the paint");
  const scrub = h("input", { type: "range", class: "fe-scrub", min: 0, max: 0, value: 0, "aria-label": "Frame of the mask" });
  const where = h("span", { class: "fe-where" });
  const rail = h("div", { class: "fe-steps" }, iconButton("back", "One frame back in the mask", () => step(-1), ","),
    iconButton("on", "One frame on in the mask", () => step(1), "."), h("div", { class: "fe-time-line" }, scrub, where));
  const much = slider("How much the words choose", 1, 99, 20, (value) => slide({ quantile: (100 - value) / 100 }), (value) => `${value} %`);
  const wider = slider("How much wider", 0, 30, 0, (value) => slide({ grow: value / 100 }), (value) => (value > 0 ? `${value} %` : "not at all"));
  const line = h("p", { class: "fe-line", role: "status", "aria-live": "polite" }, "Reading the mask");
  const told = h("p", { class: "fe-error", role: "alert", hidden: true });
  const folder = h("button", { type: "button", class: "fe-button fe-quiet", onclick: () => fold(!root.classList.contains("fe-folded")) });
  const root = h("section", { class: "fe fe-card fe-painter", "aria-label": "Where the edit may change the clip" },
    h("header", { class: "fe-head" }, h("h3", { class: "fe-title" }, "Where it may change"), h("div", { class: "fe-answers" }, folder,
      onaway && h("button", { type: "button", class: "fe-button fe-quiet", onclick: () => onaway() }, "Do without this mask"))),
    h("p", { class: "fe-line" }, "What you paint on one frame follows what lies under it through the clip."),
    h("div", { class: "fe-dials" }, much.element, wider.element), stage, rail,
    h("div", { class: "fe-toolbar" }, h("div", { class: "fe-group", role: "group", "aria-label": "Tools" }, ...Object.values(tools)),
      large.element, h("div", { class: "fe-group" }, undo, clear)), line, told);
  element.replaceChildren(root);

  /** One line is left of it while a result is looked at. */
  function fold(on) {
    root.classList.toggle("fe-folded", on);
    folder.textContent = on ? "Mask: show" : "Mask: hide";
    folder.setAttribute("aria-expanded", String(!on));
  }
  const away = () => fold(true);
  addEventListener("fe-front", away);

  function slider(label, least, most, value, act, say) {
    const output = h("output", { class: "fe-where" });
    const input = h("input", { type: "range", min: least, max: most, step: 1, value, "aria-label": label });
    const set = (next) => {
      input.value = next;
      const held = Number(input.value), text = say(held);
      input.style.setProperty("--fe-share", (held - least) / (most - least));
      input.setAttribute("aria-valuetext", text);
      output.textContent = text;
    };
    input.addEventListener("input", () => {
      set(input.value);
      act(Number(input.value));
    });
    set(value);
    return { set, input, element: h("label", { class: "fe-dial" }, h("span", {}, label), output, input) };
  }

  // ---- the frame and the mask on it

  const time = clock(clip);
  // as media/reader.py chooses them
  const spread = (index) => (clip.times?.length ? time.at(time.begin(start) + (index + 0.5) / fps) : start + Math.floor((index * clip.fps) / fps + 1e-3));
  const first = (index) => (fps ? spread(index) : start + index);
  const reel = clip.still ? stillReel() : openReel({ ...clip, url: clip.video }, stage, {
    onframe: () => draw(),
    onerror: fail,
  });
  let frame = 0;

  function stillReel() {
    still.addEventListener("load", () => draw());
    return { video: still, seek: () => draw(), close: () => {} };
  }

  function step(count) {
    go(frame + count);
  }

  function go(index) {
    frame = clamp(index, 0, frames - 1);
    scrub.value = frame;
    scrub.style.setProperty("--fe-share", frames > 1 ? frame / (frames - 1) : 0);
    scrub.setAttribute("aria-valuetext", `frame ${frame + 1} of ${frames}`);
    where.textContent = `${frame + 1} / ${frames}`;
    reel.seek(first(frame));
    draw();
  }

  function draw() {
    const picture = reel.video;
    if (!(picture.readyState >= 2 || picture.complete)) return;
    ink.drawImage(picture, 0, 0, width, height);
    if (strip) paintMask(ink, strip.picture, [0, frame * strip.height, strip.width, strip.height]);
    for (const each of [...waiting, drawn]) if (each && each.frame === frame) sketch(each);
    if (cursor && (byKeys ? document.activeElement === canvas : true)) ring();
  }

  function sketch(each) {
    ink.save();
    if (!each.points) {
      ink.fillStyle = PAINT;
      ink.fillRect(each.x * width, each.y * height, each.width * width, each.height * height);
      return ink.restore();
    }
    ink.strokeStyle = each.erase ? "rgb(255 255 255 / 55%)" : PAINT;
    ink.lineWidth = 2 * each.radius * width;
    ink.lineCap = ink.lineJoin = "round";
    ink.beginPath();
    each.points.forEach(([x, y], place) => (place ? ink.lineTo(x * width, y * height) : ink.moveTo(x * width, y * height)));
    if (each.points.length === 1) ink.lineTo(each.points[0][0] * width + 0.01, each.points[0][1] * height);
    ink.stroke();
    return ink.restore();
  }

  function ring() {
    const [x, y] = [cursor[0] * width, cursor[1] * height], size = tool === "box" ? 8 : radius * width;
    for (const [colour, thick] of [["rgb(0 0 0 / 70%)", 4], ["#fff", 2]]) {
      ink.strokeStyle = colour;
      ink.lineWidth = thick;
      ink.beginPath();
      ink.arc(x, y, size, 0, 7);
      ink.stroke();
    }
  }

  // ---- what is asked of the server: the last question's answer counts

  function changed() {
    const held = root.contains(document.activeElement);
    onchange(structuredClone(now));
    undo.disabled = !past.length;
    clear.disabled = !now.strokes.length && !now.boxes.length;
    if (held && document.activeElement?.disabled !== false) canvas.focus({ preventScroll: true }); // the keys stay here
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  }

  async function ask() {
    const own = ++sent, known = waiting.length;
    try {
      const answer = await request(`${api}/looks/${encodeURIComponent(look)}/mask`, { json: now });
      const picture = new Image();
      picture.src = answer.strip;
      await picture.decode();
      if (closed || own < shown) return;
      shown = own;
      strip = { picture, width: answer.width, height: answer.height };
      frames = answer.frames;
      waiting = own === sent ? waiting.slice(known) : waiting;
      told.hidden = true;
      line.textContent = `${Math.round(100 * answer.share)} % of the clip may change in all. The rest stays as it is.`;
      scrub.max = frames - 1;
      if (own === sent) settle(answer);
      go(frame);
    } catch (error) {
      if (!closed && own === sent) fail(error.message);
    }
  }

  function settle(answer) {
    if (now.quantile === null && Number.isFinite(answer.quantile)) much.set(Math.round(100 * (1 - answer.quantile)));
    if (now.grow === null && Number.isFinite(answer.grow)) wider.set(Math.round(100 * answer.grow));
  }

  function fail(text) {
    told.textContent = sentence(text);
    told.hidden = false;
  }

  function slide(part) {
    now = { ...now, ...part };
    changed();
  }

  // ---- the tools

  function keep(next) {
    past.push([now.strokes, now.boxes]);
    now = { ...now, ...next };
    changed();
    draw();
  }

  function back() {
    if (!past.length) return;
    const [strokes, boxes] = past.pop();
    now = { ...now, strokes, boxes };
    waiting = [];
    changed();
    draw();
  }

  function wipe() {
    waiting = [];
    keep({ strokes: [], boxes: [] });
  }

  function choose(name) {
    tool = name;
    for (const [each, button] of Object.entries(tools)) press(button, each === name);
    large.element.classList.toggle("fe-idle", name === "box");
    draw();
  }

  function begin(point) {
    drawn = tool === "box" ? { frame, x: point[0], y: point[1], width: 0, height: 0, from: point }
      : { frame, erase: tool === "erase", radius, points: [point] };
    draw();
  }

  function on(point) {
    if (!drawn) return;
    if (drawn.points) {
      const [x, y] = drawn.points.at(-1);
      if (Math.hypot(point[0] - x, point[1] - y) >= CLOSE) drawn.points.push(point);
    } else {
      const [x, y] = [0, 1].map((side) => Math.min(drawn.from[side], point[side]));
      Object.assign(drawn, { x, y, width: Math.abs(drawn.from[0] - point[0]), height: Math.abs(drawn.from[1] - point[1]) });
    }
    draw();
  }

  function finish() {
    const made = drawn;
    drawn = null;
    if (!made) return;
    if (made.points) {
      waiting.push(made);
      keep({ strokes: [...now.strokes, made] });
    } else if (made.width > 0.01 && made.height > 0.01) {
      const box = Object.fromEntries(["frame", "x", "y", "width", "height"].map((key) => [key, made[key]]));
      waiting.push(box);
      keep({ boxes: [...now.boxes, box] });
    } else draw();
  }

  const share = (value) => Math.round(1e4 * clamp(value, 0, 1)) / 1e4;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [share((event.clientX - box.left) / box.width), share((event.clientY - box.top) / box.height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || drawn) return;
    canvas.setPointerCapture(event.pointerId);
    byKeys = false;
    cursor = place(event);
    begin(cursor);
  });
  canvas.addEventListener("pointermove", (event) => {
    byKeys = false;
    cursor = place(event);
    if (canvas.hasPointerCapture(event.pointerId)) {
      for (const each of event.getCoalescedEvents?.() ?? []) on(place(each));
      on(cursor);
    } else draw();
  });
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", () => {
    drawn = null;
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    if (!byKeys) cursor = null;
    draw();
  });
  for (const name of ["focus", "blur"]) canvas.addEventListener(name, () => draw());
  scrub.addEventListener("input", () => go(Number(scrub.value)));

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const keys = {
    b: () => choose("brush"), e: () => choose("erase"), r: () => choose("box"), ",": () => step(-1), ".": () => step(1),
    "[": () => resize(-1), "]": () => resize(1),
  };

  function resize(by) {
    radius = clamp(radius + by / 100, 0.01, 0.2);
    large.set(Math.round(100 * radius));
    draw();
  }

  root.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") back();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.target === canvas && arrows[event.key]) {
      byKeys = true;
      const far = event.shiftKey ? 0.005 : 0.02;
      cursor = (cursor ?? [0.5, 0.5]).map((value, side) => share(value + far * arrows[event.key][side]));
      if (drawn) on(cursor);
      else draw();
    } else if (event.target === canvas && event.key === " ") {
      byKeys = true;
      cursor ??= [0.5, 0.5];
      if (!drawn) begin(cursor);
    } else if (keys[event.key.toLowerCase()]) keys[event.key.toLowerCase()]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  root.addEventListener("keyup", (event) => event.key === " " && event.target === canvas && finish());

  choose("brush");
  fold(false);
  undo.disabled = true;
  clear.disabled = !now.strokes.length && !now.boxes.length;
  if (now.quantile !== null) much.set(Math.round(100 * (1 - now.quantile)));
  if (now.grow !== null) wider.set(Math.round(100 * now.grow));
  go(0);
  ask();

  return {
    destroy() {
      closed = true;
      clearTimeout(timer);
      removeEventListener("fe-front", away);
      reel.close();
      root.remove();
    },
  };
}
