/* What a tab keeps of its page, so that a reload finds it again; another tab has its own. */
window.flowedit = (() => {
  const NAME = "flowedit";
  const read = () => {
    try {
      return JSON.parse(sessionStorage.getItem(NAME)) ?? {};
    } catch {
      return {};
    }
  };
  return {
    kept: read,
    keep(key, value) {
      try {
        sessionStorage.setItem(NAME, JSON.stringify({ ...read(), [key]: value }));
      } catch {
        /* a browser that keeps nothing: a reload starts anew */
      }
    },
  };
})();
