/* All options of an edit, made from their declarations: an empty field is the default, which stands in it in grey. */

const el = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const shownAs = (usual) => (usual === "null" ? "not set" : usual);

function field(entry, id, value, usual) {
  const shared = { id, "aria-describedby": `${id}-help`, "data-key": entry.key };
  if (entry.kind === "choice") {
    const chosen = el("select", shared, el("option", { value: "" }, usual ? `as usual: ${shownAs(usual)}` : "as usual"));
    for (const name of entry.choices) chosen.append(el("option", { value: name }, entry.titles?.[name] ?? name));
    chosen.value = value ?? "";
    return chosen;
  }
  const numeric = entry.kind === "whole" || entry.kind === "number";
  const typed = el("input", {
    ...shared,
    type: "text",
    inputmode: numeric ? (entry.kind === "whole" ? "numeric" : "decimal") : null,
    placeholder: shownAs(usual) || (numeric ? "" : entry.typed),
    autocomplete: "off",
    spellcheck: "false",
  });
  typed.value = value ?? "";
  return typed;
}

/** What is wrong with a number that was typed; an empty text for one that is right, and for what is no number's field. */
export function refusal(entry, text) {
  if (text === "" || (entry.kind !== "whole" && entry.kind !== "number")) return "";
  if (text === "null" || text === "inf") return "";
  const number = Number(text);
  const whole = entry.kind === "whole" && !Number.isInteger(number);
  if (Number.isNaN(number) || whole) return `a ${entry.kind === "whole" ? "whole number" : "number"} is expected`;
  const low = entry.least !== null && entry.least !== undefined && number < entry.least;
  const high = entry.most !== null && entry.most !== undefined && number > entry.most;
  return low || high ? `${entry.range} is expected` : "";
}

/**
 * Mounts the accordion. `entries` as choices.py makes them, `values` {key: text} that are set, `defaults` {key: text},
 * `editor` the name of the editor whose own options are shown. `onchange` hears the new values. Returns {update}.
 */
export function mountOptions(element, { entries, values = {}, defaults = {}, editor = "", onchange = () => {} }) {
  let set = { ...values };
  let usual = { ...defaults };
  let method = editor;
  const rows = [];

  const wrongs = new Map();
  const tell = () => {
    count();
    onchange({ ...set }, [...wrongs.values()]);
  };
  const change = (entry, input, note) => {
    const text = input.value.trim();
    const wrong = refusal(entry, text);
    note.textContent = wrong;
    input.setAttribute("aria-invalid", String(wrong !== ""));
    if (wrong) wrongs.set(entry, `${entry.title}: ${wrong}`);
    else wrongs.delete(entry);
    if (wrong || text === "") delete set[entry.key];
    else set[entry.key] = text;
    tell();
  };

  const search = el("input", { type: "search", placeholder: "Find an option", "aria-label": "Find an option", class: "fe-find" });
  const reset = el("button", { type: "button", class: "fe-quiet" }, "All as usual");
  const told = el("span", { class: "fe-count", role: "status" });
  const body = el("div", { class: "fe-sections" });
  const none = el("p", { class: "fe-none", hidden: true }, "No option has this in its name or its description. Some have a field of their own above: the quality, the strength, the seed.");

  const sections = new Map();
  entries.forEach((entry, number) => {
    if (!sections.has(entry.section)) {
      const list = el("div", { class: "fe-fields" });
      const box = el("details", { class: "fe-section" }, el("summary", {}, sentence(entry.section)), list);
      sections.set(entry.section, { box, list });
      body.append(box);
    }
    const id = `fe-option-${number}`;
    const row = el("div", { class: "fe-option" });
    sections.get(entry.section).list.append(row);
    const draw = () => {
      const note = el("span", { class: "fe-wrong", role: "alert" });
      const input = field(entry, id, set[entry.key], usual[entry.key]);
      input.addEventListener("change", () => change(entry, input, note));
      const range = entry.range && entry.kind !== "choice" ? ` (${entry.range})` : "";
      const about = entry.about?.[set[entry.key] ?? usual[entry.key]];
      row.replaceChildren(
        el("label", { for: id }, entry.title, el("code", {}, entry.key)),
        input,
        el("span", { id: `${id}-help`, class: "fe-help" }, sentence(entry.help) + range + (about ? `. Good at: ${about}` : "")),
        note,
      );
      row.classList.toggle("fe-set", entry.key in set);
    };
    rows.push({ entry, row, draw });
    draw();
  });

  function filter() {
    const asked = search.value.trim().toLowerCase();
    let shown = 0;
    for (const { entry, row } of rows) {
      const own = entry.modes === null || entry.modes.includes(method);
      const found = own && (asked === "" || `${entry.key} ${entry.title} ${entry.help}`.toLowerCase().includes(asked));
      row.hidden = !found;
      shown += found ? 1 : 0;
    }
    for (const { box, list } of sections.values()) {
      const some = [...list.children].some((row) => !row.hidden);
      box.hidden = !some;
      if (asked !== "") box.open = some;
    }
    none.hidden = shown > 0;
  }
  function count() {
    const number = Object.keys(set).length;
    told.textContent = number === 0 ? "all as usual" : number === 1 ? "1 option set" : `${number} options set`;
    reset.hidden = number === 0;
    for (const { entry, row } of rows) row.classList.toggle("fe-set", entry.key in set);
  }
  search.addEventListener("input", filter);
  reset.addEventListener("click", () => {
    set = {};
    wrongs.clear();
    for (const { draw } of rows) draw();
    tell();
    search.focus();
  });
  element.classList.add("fe-options");
  element.replaceChildren(el("div", { class: "fe-bar" }, search, told, reset), body, none);
  filter();
  count();
  return {
    update({ values: next, defaults: other, editor: name }) {
      if (next) set = { ...next };
      if (other) usual = { ...other };
      if (name) method = name;
      const open = document.activeElement?.dataset?.key;
      for (const { entry, draw } of rows) if (entry.key !== open) draw();
      filter();
      count();
    },
  };
}
