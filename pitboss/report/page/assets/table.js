// The table of features: 25 rows at a time out of columns, whatever their number.

const PER_PAGE = 25;

function featureTable(place) {
  const all = data("features");
  if (!all) return;
  const count = all.layer.length;
  const state = { sort: null, down: false, page: 0, search: "", show: "all", layer: "", prompt: "" };
  const name = (i) => named(all.layer[i], all.feature[i]);
  const columns = () => [
    { key: "name", label: t("column.feature"), value: (i) => all.layer[i] * 1e7 + all.feature[i],
      cell: (i) => el("button", { type: "button", class: "open", onclick: () => openCard(name(i)) }, name(i)) },
    { key: "causal", label: t("column.causal"), value: (i) => (all.causal[i] ? 2 : 0) + (all.confirmed[i] ? 1 : 0),
      cell: (i) => (all.causal[i] ? t(all.confirmed[i] === null ? "word.yes" : all.confirmed[i] ? "word.confirmed" : "word.unconfirmed") : t("word.no")) },
    { key: "difference", label: t("column.difference"), right: true, value: (i) => all.difference[i], cell: (i) => points(all.difference[i]) },
    { key: "interval", label: t("column.interval"), value: (i) => (all.difference[i] === null ? null : Math.abs(all.difference[i])), cell: (i) => forest(all, i) },
    { key: "q", label: "q", right: true, value: (i) => all.q[i], cell: (i) => small(all.q[i]) },
    ...(all.prompts.length > 1 ? [{ key: "prompt", label: t("column.prompt"), value: (i) => all.prompt[i], cell: (i) => (all.prompt[i] === null ? "–" : all.prompts[all.prompt[i]]) }] : []),
    { key: "d", label: t("column.d"), right: true, value: (i) => all.d[i], cell: (i) => (all.d[i] === null ? "–" : signed(all.d[i], 2)) },
    ...(all.rank ? [{ key: "rank", label: t("column.screening"), right: true, value: (i) => all.rank[i], cell: (i) => (all.rank[i] === null ? "–" : all.rank[i].toLocaleString("en")) }] : []),
    ...(all.tokens ? [{ key: "tokens", label: t("column.tokens"), value: (i) => all.tokens[i].toLowerCase(), cell: (i) => el("code", { title: all.tokens[i] }, all.tokens[i]) }] : []),
  ];

  function passes(i) {
    if (state.show === "causal" && !all.causal[i]) return false;
    if (state.show === "confirmed" && !all.confirmed[i]) return false;
    if (state.show === "other" && all.causal[i]) return false;
    if (state.show === "unreadable" && !all.unreadable[i]) return false;
    if (state.layer !== "" && all.layer[i] !== Number(state.layer)) return false;
    if (state.prompt !== "" && all.prompt[i] !== Number(state.prompt)) return false;
    const words = state.search.toLowerCase();
    return !words || name(i).toLowerCase().includes(words) || (all.tokens && all.tokens[i].toLowerCase().includes(words));
  }

  function chosen() {
    const kept = [];
    for (let i = 0; i < count; i++) if (passes(i)) kept.push(i);
    const by = columns().find((column) => column.key === state.sort);
    if (by) {
      const sign = state.down ? -1 : 1;
      kept.sort((a, b) => {
        const x = by.value(a), y = by.value(b);
        if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
        return x < y ? -sign : x > y ? sign : a - b;
      });
    }
    return kept;
  }

  function sortBy(key) {
    if (state.sort === key) state.down = !state.down;
    else [state.sort, state.down] = [key, ["difference", "causal", "interval", "d"].includes(key)];
    state.page = 0;
    fill();
  }

  const body = el("div", { class: "wide" }), pages = el("div", { class: "pages" });

  function fill() {
    const kept = chosen(), last = Math.max(0, Math.ceil(kept.length / PER_PAGE) - 1);
    state.page = Math.min(state.page, last);
    const here = kept.slice(state.page * PER_PAGE, (state.page + 1) * PER_PAGE), shown = columns();
    const head = shown.map((column) => el("th", { class: column.right ? "right" : null, "data-column": column.key, scope: "col",
      "aria-sort": state.sort !== column.key ? null : state.down ? "descending" : "ascending" },
    el("button", { type: "button", onclick: () => sortBy(column.key) }, column.label)));
    const lines = here.map((i) => el("tr", {}, shown.map((column) => el("td", { class: column.right ? "right" : "of-" + column.key }, column.cell(i)))));
    body.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, lines)));
    if (!kept.length) body.append(el("p", { class: "quiet" }, t("table.empty")));
    pages.replaceChildren(
      el("button", { type: "button", disabled: state.page === 0, "aria-label": t("table.before"), onclick: () => { state.page--; fill(); } }, "‹"),
      el("span", { "aria-live": "polite" }, t("table.page", { from: kept.length ? (state.page * PER_PAGE + 1).toLocaleString("en") : 0,
        to: (state.page * PER_PAGE + here.length).toLocaleString("en"), all: kept.length.toLocaleString("en") })),
      el("button", { type: "button", disabled: state.page === last, "aria-label": t("table.next"), onclick: () => { state.page++; fill(); } }, "›"));
  }

  function choice(label, key, options) {
    const select = el("select", { "data-filter": key, onchange: (event) => { state[key] = event.target.value; state.page = 0; fill(); } },
      options.map(([value, text]) => el("option", { value, selected: String(state[key]) === String(value) }, text)));
    return el("label", {}, label, select);
  }

  function build() {
    const layers = [...new Set(all.layer)].sort((a, b) => a - b);
    const search = el("input", { type: "search", value: state.search, placeholder: t("table.search"), "aria-label": t("table.search"),
      oninput: (event) => { state.search = event.target.value.trim(); state.page = 0; fill(); } });
    const shows = ["all", "causal", ...(all.confirmed.some((c) => c) ? ["confirmed"] : []), "other", ...(all.unreadable.some((u) => u) ? ["unreadable"] : [])];
    place.replaceChildren(el("div", { class: "tools" }, search,
      choice(t("table.show"), "show", shows.map((value) => [value, t("table.show." + value)])),
      choice(t("column.layer"), "layer", [["", t("table.every")], ...layers.map((layer) => [layer, layer])]),
      ...(all.prompts.length > 1 ? [choice(t("column.prompt"), "prompt", [["", t("table.every")], ...all.prompts.map((text, i) => [i, text])])] : []),
      pages), body);
    fill();
  }

  place.hidden = false;
  build();
  page.redraw.push(build);
}

/** A feature's difference with its interval, between −100 and +100 points. */
function forest(all, i) {
  if (all.difference[i] === null) return "–";
  const at = (share) => 50 + 50 * share;
  const [low, high] = [all.ci_low[i], all.ci_high[i]];
  const label = points(all.difference[i]) + " [" + points(low) + ", " + points(high) + "]";
  return el("span", { class: "forest" + (all.causal[i] ? " hit" : ""), role: "img", "aria-label": label, title: label },
    el("i", { style: `left:${at(low)}%;width:${at(high) - at(low)}%` }), el("b", { style: `left:${at(all.difference[i])}%` }));
}
