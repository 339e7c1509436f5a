// One hidden video that stops on exact frames and says which frame it shows: what players, painters and trims draw from.
import { clamp, h } from "./parts.js";

/**
 * When frames are shown: evenly at `fps`, or at `times`, in seconds, with one more where the last ends. `begin(frame)` and
 * `middle(frame)` are in seconds, `at(seconds)` is the frame that is shown then.
 */
export function clock({ fps, times }) {
  const uneven = times?.length > 1;
  const begin = (index) => (uneven ? times[clamp(index, 0, times.length - 1)] : index / fps);
  // the middle of a frame, so that rounding never shows its neighbour
  const middle = (index) => (begin(index) + begin(index + 1)) / 2;
  const at = (time) => (uneven ? times.findLastIndex((each) => each <= time + 1e-3) : Math.floor(time * fps + 1e-3));
  return { begin, middle, at };
}

/**
 * Open `url` inside `host`. `onframe(frame)` is called when a frame can be drawn from `reel.video`, `onstate()` when it
 * starts or stops, `onerror(text)` when it cannot be shown. `first` is the address of a picture of its first frame, which
 * is there while the server still makes the video: `onfirst()` is called when it can be drawn from `reel.picture`.
 */
export function openReel({ url, first, fps, frames, times }, host, { onframe, onfirst = () => {}, onstate = () => {}, onerror = () => {} }) {
  const video = h("video", { class: "fe-reel", preload: "auto", playsinline: true, tabindex: -1, "aria-hidden": "true" });
  video.muted = true;
  video.src = url;
  host.append(video);
  const poster = new Image();
  poster.onload = () => video.readyState < 2 && onfirst();
  if (first) poster.src = first;

  let frame = 0; // the frame shown, or that is on its way
  let shown = -1; // the frame that was drawn last
  let seeking = false, closed = false;
  const waiting = []; // [frame, resolve]

  const { begin, middle, at } = clock({ fps, times });
  const indexAt = (time) => clamp(at(time), 0, frames - 1);

  function tell(index) {
    if (closed) return;
    shown = index;
    onframe(index);
    for (let place = waiting.length - 1; place >= 0; place--) {
      if (waiting[place][0] === index) waiting.splice(place, 1)[0][1]();
    }
  }

  function seek(index) {
    frame = clamp(Math.round(index), 0, frames - 1);
    if (seeking || video.readyState < 1) return; // goes there as soon as it can
    seeking = true;
    video.currentTime = middle(frame);
  }

  function arrived() {
    seeking = false;
    if (!video.paused) return;
    if (Math.abs(video.currentTime - middle(frame)) > 0.4 * (begin(frame + 1) - begin(frame))) seek(frame);
    else tell(frame);
  }

  // the browser says which frame it presents: while it plays this is the only clock that is right
  function presented(_, { mediaTime }) {
    if (closed) return;
    video.requestVideoFrameCallback(presented);
    const index = indexAt(mediaTime);
    if (!video.paused && !video.ended) tell((frame = index));
    else if (index === frame && !seeking) tell(index);
  }

  function looked() {
    if (closed || video.paused) return;
    const index = indexAt(video.currentTime);
    if (index !== shown) tell((frame = index));
    requestAnimationFrame(looked);
  }

  const listen = {
    loadedmetadata: () => seek(frame),
    seeked: arrived,
    play: () => {
      onstate();
      if (!video.requestVideoFrameCallback) requestAnimationFrame(looked);
    },
    pause: () => {
      onstate();
      if (!video.ended) seek(frame);
    },
    ended: () => {
      onstate();
      seek(frames - 1);
    },
    error: () => onerror("This browser cannot play the file."),
  };
  for (const [name, act] of Object.entries(listen)) video.addEventListener(name, act);
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(presented);

  return {
    video,
    seek,
    /** What can be drawn: the video, or before it its first frame; null before either. */
    get picture() {
      if (video.readyState >= 2) return video;
      return poster.naturalWidth ? poster : null;
    },
    get frame() {
      return frame;
    },
    get playing() {
      return !video.paused && !video.ended;
    },
    /** Seek, and wait until that frame was told to `onframe`. */
    at(index) {
      const place = clamp(Math.round(index), 0, frames - 1);
      if (shown === place && !seeking && video.paused) return Promise.resolve();
      return new Promise((done) => {
        waiting.push([place, done]);
        seek(place);
      });
    },
    async play() {
      if (frame >= frames - 1) video.currentTime = 0;
      await video.play().catch(() => onstate());
    },
    pause: () => video.pause(),
    step(count) {
      video.pause();
      seek(frame + count);
    },
    close() {
      closed = true;
      poster.onload = null;
      for (const [name, act] of Object.entries(listen)) video.removeEventListener(name, act);
      video.pause();
      video.removeAttribute("src");
      video.load();
      video.remove();
    },
  };
}

/** Where a tile of the stacked video, or of a picture of it, lies: [x, y, width, height] in its pixels. */
export function tileOf(stack, tiles, name) {
  const height = (stack.videoHeight ?? stack.naturalHeight) / tiles.length;
  return [0, tiles.indexOf(name) * height, stack.videoWidth ?? stack.naturalWidth, height];
}

const TINT = [255, 45, 120];

/** A painter of a grey picture over another one: white is tinted, black is left alone, and the edge is drawn. */
export function tint(strength = 0.45) {
  const canvas = document.createElement("canvas"), ink = canvas.getContext("2d", { willReadFrequently: true });
  /** Draw `source`'s rectangle [x, y, w, h], a grey picture, over `target` (a 2d context) as a tint. */
  return (target, source, [x, y, width, height]) => {
    const share = 640 / Math.max(width, height);
    const [across, down] = [width, height].map((side) => Math.max(1, Math.round(side * share)));
    Object.assign(canvas, { width: across, height: down });
    ink.drawImage(source, x, y, width, height, 0, 0, across, down);
    const picture = ink.getImageData(0, 0, across, down), data = picture.data;
    const grey = new Uint8Array(across * down);
    for (let at = 0; at < grey.length; at++) grey[at] = data[4 * at];
    for (let at = 0; at < grey.length; at++) {
      // the edge: white here, and black to the right, to the left, below or above; two sites wide
      const edge = grey[at] > 127 && (grey[at - 2] <= 127 || grey[at + 2] <= 127
        || grey[at - 2 * across] <= 127 || grey[at + 2 * across] <= 127);
      [data[4 * at], data[4 * at + 1], data[4 * at + 2]] = TINT;
      data[4 * at + 3] = edge ? 255 : grey[at] < 12 ? 0 : strength * grey[at];
    }
    ink.putImageData(picture, 0, 0);
    target.drawImage(canvas, 0, 0, target.canvas.width, target.canvas.height);
  };
}
