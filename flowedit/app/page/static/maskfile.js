// A mask that a person has already: a video, or one picture for all frames; white is edited.
import { h, request, sentence } from "./parts.js";

/** Mount into `element`. `file` is {id, name} or null; `onfile` hears the new one. */
export function mountMaskFile(element, { file = null, onfile = () => {}, api = "/api" }) {
  const chooser = h("input", { type: "file", accept: "video/*,image/png,image/jpeg,image/webp", class: "fe-unseen", tabindex: -1, "aria-hidden": "true" });
  const told = h("p", { class: "fe-error", role: "alert", hidden: true });
  const body = h("div", { class: "fe-group" });
  let held = file; // stays until another one is read

  function draw(chosen) {
    held = chosen;
    const button = (text, act) => h("button", { type: "button", class: "fe-button fe-quiet", onclick: act }, text);
    body.replaceChildren(
      ...(chosen
        ? [h("span", { class: "fe-name", title: chosen.name }, `Mask: ${chosen.name}`),
            button("Another mask file", () => chooser.click()), button("Do without the mask file", () => set(null))]
        : [button("Use a mask file", () => chooser.click())]),
    );
  }
  function set(chosen) {
    draw(chosen);
    onfile(chosen);
  }
  chooser.addEventListener("change", async () => {
    const form = new FormData(), [given] = chooser.files;
    form.append("file", given);
    chooser.value = "";
    told.hidden = true;
    body.replaceChildren(h("span", { class: "fe-line", role: "status" }, "Reading the mask"));
    try {
      const clip = await request(`${api}/clips`, { method: "POST", body: form });
      set({ id: clip.id, name: clip.name });
    } catch (error) {
      told.textContent = sentence(held ? `${error.message}. ${held.name} stays` : error.message, given.name);
      told.hidden = false;
      draw(held);
    }
  });
  element.replaceChildren(h("div", { class: "fe" }, chooser, body, told));
  draw(file);
}
