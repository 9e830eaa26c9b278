// One feature's card: every arm with its interval, and what its tokens, contexts and answers look like.

const card = { open: null };

/** `L3/F12` -> place in the columns of the features. */
function placeOf(name) {
  const all = data("features"), match = /^L(\d+)\/F(\d+)$/.exec(name);
  if (!all || !match) return -1;
  for (let i = 0; i < all.layer.length; i++)
    if (all.layer[i] === Number(match[1]) && all.feature[i] === Number(match[2])) return i;
  return -1;
}

function openCard(name) {
  const i = placeOf(name), dialog = document.getElementById("card");
  if (i < 0) return;
  card.open = name;
  dialog.replaceChildren(...cardParts(name, i));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  history.replaceState(null, "", "#" + name);
}

function closeCard() {
  card.open = null;
  history.replaceState(null, "", location.pathname + location.search);
}

function cardParts(name, i) {
  const all = data("features"), details = (data("details") || {})[name];
  const step = (by) => () => { const j = i + by; if (j >= 0 && j < all.layer.length) openCard(named(all.layer[j], all.feature[j])); };
  const status = all.causal[i] ? t(all.confirmed[i] === null ? "card.causal" : all.confirmed[i] ? "card.confirmed" : "card.unconfirmed") : t("card.other");
  const head = el("div", { class: "head" }, el("h2", { id: "card-title" }, t("card.title", { layer: all.layer[i], feature: all.feature[i] })),
    el("div", {}, el("button", { type: "button", "aria-label": t("card.before"), onclick: step(-1), disabled: i === 0 }, "‹"),
      el("button", { type: "button", "aria-label": t("card.next"), onclick: step(1), disabled: i === all.layer.length - 1 }, "›"),
      el("button", { type: "button", onclick: () => document.getElementById("card").close() }, t("card.close"))));
  const facts = [status];
  if (all.unreadable[i]) facts.push(t("card.unreadable"));
  if (all.d[i] !== null) facts.push(t("card.d", { d: signed(all.d[i], 2) }));
  if (details && details.values && details.values.adjusted !== null) facts.push(t("card.adjusted", { d: signed(details.values.adjusted, 2) }));
  if (all.rank && all.rank[i] !== null) facts.push(t("card.rank", { rank: all.rank[i].toLocaleString("en") }));
  if (details && details.values) facts.push(t("card.values", { safe: small(details.values.safe), risky: small(details.values.risky) }));
  const parts = [head, el("p", {}, facts.join(" "))];
  if (details && details.description) parts.push(el("p", {}, details.description[0] + " ", el("span", { class: "quiet" }, "(" + details.description[1] + ")")));
  parts.push(...armsTable(i));
  if (!details) return [...parts, el("p", { class: "quiet" }, t("card.elsewhere"))];
  return [...parts, ...examples(details), ...tokenList(details), ...contextList(details), ...wordTable(details), ...screeningTable(details)];
}

function table(head, lines) {
  return el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, head.map(([text, right]) => el("th", { class: right ? "right" : null }, text)))),
    el("tbody", {}, lines.map((line) => el("tr", {}, line.map((cell, n) => el("td", { class: head[n][1] ? "right" : null }, cell)))))));
}

function armsTable(i) {
  const arms = data("arms");
  if (!arms || !arms.at) return [];
  const first = arms.at.indexOf(i);
  if (first < 0) return [];
  const lines = { stop: [], rest: [] };
  for (let n = first; n < arms.at.length && arms.at[n] === i; n++) {
    const outcome = arms.outcomes[arms.outcome[n]], stake = outcome === "stake";
    const side = (value, events, of, none) => (stake ? small(value) : events + "/" + of) + (none ? " " + t("card.none", { n: none }) : "");
    const held = { difference: [arms.difference[n]], ci_low: [arms.ci_low[n]], ci_high: [arms.ci_high[n]], causal: [arms.significant[n] === 1] };
    const phase = arms.phases.length > 1 ? [known("phase." + arms.phases[arms.phase[n]], arms.phases[arms.phase[n]])] : [];
    const named = outcome === "stop" ? [] : [say.outcome(outcome)];
    const line = [arms.prompts[arms.prompt[n]], ...phase, say.contrast(arms.contrasts[arms.contrast[n]]), ...named,
      side(arms.value_a[n], arms.events_a[n], arms.n_a[n], arms.none_a[n]), side(arms.value_b[n], arms.events_b[n], arms.n_b[n], arms.none_b[n]),
      points(arms.difference[n]), forest(held, 0), small(arms.p[n]), small(arms.q[n])];
    (outcome === "stop" ? lines.stop : lines.rest).push(line);
  }
  const head = (named, difference) => [[t("column.prompt")], ...(arms.phases.length > 1 ? [[t("column.phase")]] : []), [t("column.contrast")], ...named,
    [t("column.first"), true], [t("column.second"), true], [difference, true], [t("column.interval")], ["p", true], ["q", true]];
  const parts = [el("h3", {}, t("card.arms")), table(head([], t("column.difference")), lines.stop)];
  if (lines.rest.length) parts.push(el("details", {}, el("summary", {}, t("card.outcomes")), table(head([[t("column.outcome")]], t("column.change")), lines.rest)));
  return parts;
}

function examples(details) {
  if (!details.examples || !details.examples.length) return [];
  return [el("h3", {}, t("card.examples")), el("p", { class: "quiet" }, t("card.noise")), ...details.examples.map((example) => el("div", {},
    el("p", {}, el("code", {}, example.noise.startsWith(example.prompt) ? example.noise : example.prompt + " · " + example.noise)),
    el("div", { class: "answers" }, example.runs.map((run) => el("div", { class: "answer " + run.decision },
      el("h4", {}, say.arm(run.arm) + (run.value === null ? "" : " (" + small(run.value) + ")"), el("em", {}, known("decision." + run.decision, run.decision))),
      el("pre", {}, run.text[0], run.text[1] ? el("mark", {}, run.text[1]) : null, run.text[2], run.more ? el("span", { class: "quiet" }, "\n" + t("card.more", { n: run.more })) : null))))))];
}

function tokenList(details) {
  if (!details.tokens) return [];
  return [el("h3", {}, t("card.tokens")), el("ul", { class: "chips" }, details.tokens.map(([token, score]) => el("li", {}, token + " ", el("small", {}, small(score)))))];
}

function contextList(details) {
  if (!details.contexts) return [];
  return [el("h3", {}, t("card.contexts")), el("ul", { class: "contexts" }, details.contexts.map(([activation, before, token, after, source]) =>
    el("li", { title: source }, el("span", { class: "quiet" }, small(activation) + "  "), before, el("mark", {}, token), after)))];
}

function wordTable(details) {
  if (!details.words) return [];
  return [el("h3", {}, t("card.words")), table([[t("column.prompt")], [t("column.word")], ["z", true], ["q", true], [t("arm.safe"), true], [t("arm.risky"), true]],
    details.words.map(([prompt, word, z, q, safe, risky]) => [prompt, word, signed(z, 1), small(q), String(safe), String(risky)]))];
}

function screeningTable(details) {
  if (!details.screening) return [];
  return [el("h3", {}, t("card.screening")), table([[t("column.prompt")], [t("column.arm")], [t("column.value"), true], [t("column.own"), true], [t("column.pstop"), true], [t("axis.logodds"), true]],
    details.screening.map(([prompt, value, number, own, p, shift]) => [prompt, say.arm(value), small(number), small(own), percent(p, 1), signed(shift, 3)]))];
}
