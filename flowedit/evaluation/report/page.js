"use strict";
// Each row of videos plays as one: the first leads, the others follow within a frame.
let active = null; // the row that plays, or played last

function setUp(root) {
  const fps = Number(root.dataset.fps), frames = Number(root.dataset.frames);
  const times = JSON.parse(root.dataset.times || "[]"); // where frames come unevenly, and where the last ends
  const find = (name) => root.querySelector(name);
  const videos = [...root.querySelectorAll("video")];
  const play = find(".play"), at = find(".at"), where = find(".where"), speed = find(".speed"), masks = find(".masks");
  // of a row of stills nothing plays, and its masks are shown all the same
  const lay = (on) => {
    masks.setAttribute("aria-pressed", on);
    for (const mask of root.querySelectorAll(".film.mask")) {
      const figure = mask.closest("figure");
      mask.hidden = !on;
      figure.querySelector(".film:not(.mask)").hidden = on;
      figure.querySelector(".of").hidden = !on;
    }
  };
  const pressed = () => masks.getAttribute("aria-pressed") === "true";
  if (!play) {
    if (masks) masks.addEventListener("click", () => lay(!pressed()));
    root.classList.add("live");
    return null;
  }
  let playing = false, starts = 0;

  const shown = () => videos.filter((video) => !video.hidden && !video.error);
  const begin = (frame) => (times.length ? times[frame] : frame / fps);
  // the middle of a frame, so that rounding never shows its neighbour
  const seconds = (frame) => (begin(frame) + begin(frame + 1)) / 2;
  const frameAt = (now) => (times.length ? times.findLastIndex((time) => time <= now) : Math.floor(now * fps));
  const frame = () => Number(at.value);

  function show(index) {
    at.value = index;
    where.textContent = `${index + 1} / ${frames}`;
    at.setAttribute("aria-valuetext", `frame ${index + 1} of ${frames}`);
  }

  function seek(index) {
    show(Math.max(0, Math.min(frames - 1, index)));
    for (const video of shown()) {
      video.preload = "auto";
      video.currentTime = seconds(frame());
    }
  }

  function ready(video) {
    return new Promise((done) => {
      const look = () => {
        if (!video.error && (video.seeking || video.readyState < 2)) return;
        for (const name of ["seeked", "loadeddata", "canplay", "error"]) video.removeEventListener(name, look);
        done();
      };
      for (const name of ["seeked", "loadeddata", "canplay", "error"]) video.addEventListener(name, look);
      look();
    });
  }

  function mark(on) {
    playing = on;
    play.textContent = on ? "❚❚" : "▶";
    play.setAttribute("aria-label", on ? "pause" : "play");
  }

  function stop() {
    if (playing) mark(false);
    for (const video of videos) video.pause();
  }

  async function start(from) {
    if (active && active !== player) active.stop();
    active = player;
    const own = ++starts;
    for (const video of videos) video.pause();
    mark(true);
    seek(from);
    await Promise.all(shown().map(ready));
    if (!playing || own !== starts) return;
    for (const video of shown()) video.playbackRate = Number(speed.value);
    try {
      await Promise.all(shown().map((video) => video.play()));
    } catch {
      if (own === starts) stop();
      return;
    }
    requestAnimationFrame(() => follow(own));
  }

  function follow(own) {
    if (!playing || own !== starts) return;
    const [lead, ...others] = shown(), now = lead.currentTime, rate = Number(speed.value);
    if (lead.ended || now >= begin(frames) - 0.001) {
      if (find(".loop").checked) start(0);
      else {
        stop();
        seek(frames - 1);
      }
      return;
    }
    lead.playbackRate = rate;
    for (const video of others) {
      const ahead = video.currentTime - now;
      // a seek stalls a video for longer than a small lag lasts, so small ones are made up by the rate
      if (Math.abs(ahead) > 0.5) video.currentTime = now;
      else if (Math.abs(ahead) < 0.2 / fps) video.playbackRate = rate;
      else video.playbackRate = rate * (1 - Math.max(-0.5, Math.min(0.5, 6 * ahead)));
    }
    show(Math.max(0, Math.min(frames - 1, frameAt(now))));
    requestAnimationFrame(() => follow(own));
  }

  const player = {
    root,
    stop,
    load: () => seek(frame()),
    toggle: () => (playing ? stop() : start(frame() < frames - 1 ? frame() : 0)),
    step(count) {
      stop();
      active = player;
      seek(count === null ? 0 : frame() + count);
    },
  };

  let resume = false;
  play.addEventListener("click", player.toggle);
  at.addEventListener("input", () => {
    resume = resume || playing;
    stop();
    active = player;
    seek(frame());
  });
  at.addEventListener("change", () => {
    if (resume) start(frame());
    resume = false;
  });
  if (masks) {
    masks.addEventListener("click", () => {
      const was = playing;
      stop();
      lay(!pressed());
      if (was) start(frame());
      else seek(frame());
    });
  }
  for (const video of videos) {
    video.controls = false;
    video.addEventListener("click", player.toggle);
    video.addEventListener("error", () => {
      const told = document.createElement("div");
      told.className = "missing";
      told.textContent = "this browser cannot play the file";
      if (!video.classList.contains("mask")) video.after(told);
      video.hidden = true;
    });
  }
  show(0);
  root.classList.add("live");
  return player;
}

const players = [...document.querySelectorAll(".player")].map(setUp).filter(Boolean);

// hundreds of videos are not decoded until they come near
const near = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) {
    near.unobserve(entry.target);
    players.find((player) => player.root === entry.target).load();
  }
}, { rootMargin: "600px" });
for (const player of players) near.observe(player.root);

function visible(player) {
  const place = player.root.getBoundingClientRect();
  return place.bottom > 0 && place.top < innerHeight;
}

addEventListener("keydown", (event) => {
  const target = event.target, row = target.closest(".player");
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  // lists, sliders and links have keys of their own, and a button is pressed by space
  if (target.matches("select, input, summary, a, pre, .scroll") || (target.matches("button") && event.key === " ")) return;
  // elsewhere on the page, keys are for the row that was played last, while it is in view, and else for scrolling
  const player = row ? players.find((each) => each.root === row) : active && visible(active) ? active : null;
  if (!player) return;
  if (event.key === " ") player.toggle();
  else if (event.key === "ArrowLeft") player.step(-1);
  else if (event.key === "ArrowRight") player.step(1);
  else if (event.key === "Home" && row) player.step(null);
  else return;
  event.preventDefault();
});

// A table that is wider than its place says so.
function tell() {
  for (const note of document.querySelectorAll(".wider")) {
    const place = note.parentElement;
    note.hidden = place.scrollWidth <= place.clientWidth + 1;
  }
}
addEventListener("resize", tell);
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", tell);
tell();
