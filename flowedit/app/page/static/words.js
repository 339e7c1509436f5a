/* The words of a prompt as chips: those that are on say where the edit may happen. */

const WHEN = { source_words: "there now", target_words: "to be there" };

/**
 * Mounts the chips of one or two prompts. `sides` is a list of {side, title, words, chosen}: `words` are
 * {text, follows, on, strange}, where `follows` says that a word stands right behind the one before it in the prompt,
 * and so belongs to one object with it, and `strange` that the model does not know it. `onchange` hears
 * {side: "red fox, car"}.
 */
export function mountWords(element, { sides = [], onchange = () => {} }) {
  const chosen = new Map();
  const tell = () => onchange(Object.fromEntries([...chosen].map(([side, phrases]) => [side, joined(phrases)])));
  const groups = sides
    .filter(({ words }) => words.length > 0)
    .map(({ side, title, words }) => {
      const own = words.map((word) => ({ ...word }));
      chosen.set(side, own);
      const list = document.createElement("div");
      list.className = "fe-chips";
      list.setAttribute("role", "group");
      list.setAttribute("aria-label", title);
      const counts = {};
      for (const word of own) {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.className = "fe-chip";
        chip.textContent = word.text;
        chip.classList.toggle("fe-strange", Boolean(word.strange));
        if (word.strange) chip.title = "The model does not know this word";
        const again = (counts[word.text] = (counts[word.text] ?? 0) + 1); // the same word may stand on both sides, and twice
        chip.setAttribute("aria-label", [word.text, WHEN[side] ?? title, again > 1 && `number ${again}`, word.strange && "not known to the model"].filter(Boolean).join(", "));
        chip.setAttribute("aria-pressed", String(word.on));
        chip.addEventListener("click", () => {
          word.on = !word.on;
          chip.setAttribute("aria-pressed", String(word.on));
          tell();
        });
        list.append(chip);
      }
      const heading = document.createElement("p");
      heading.className = "fe-chips-title";
      heading.textContent = title;
      const group = document.createElement("div");
      group.append(heading, list);
      return group;
    });
  element.replaceChildren(...groups);
  element.hidden = groups.length === 0;
}

/** The words that are on, with commas between those that do not stand side by side. */
export function joined(words) {
  const phrases = [];
  let before = false;
  for (const { text, follows, on } of words) {
    if (on && before && follows) phrases[phrases.length - 1] += ` ${text}`;
    else if (on) phrases.push(text);
    before = on;
  }
  return phrases.join(", ");
}
