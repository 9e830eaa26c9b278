// Figures of games: by condition of the prompt, and under a patch that stays.

/** Conditions downward, one plot a measure and model; bet types in two colours.
    A measure is [value, low, high, label, factor, games]: names of the columns, and of how many games. */
function byCondition(all, measures, width) {
  const order = [...new Set(all.map((d) => d.components))], models = distinct(all.map((d) => d.model));
  const colour = (bets) => (bets === "fixed" ? COLOURS.safe : COLOURS.risky);
  const shift = (bets) => (bets === "fixed" ? -3 : 3);
  const one = (model, [value, low, high, label, by, games], across) => {
    const here = all.filter((d) => d.model === model && d[value] !== null);
    const said = (d) => d.components + ", " + known("bets." + d.bet_type, d.bet_type) + "\n" + label + ": " + small(by * d[value]) +
      (d[low] === null ? "" : " [" + small(by * d[low]) + ", " + small(by * d[high]) + "]") + "\nn = " + d[games];
    const marks = distinct(here.map((d) => d.bet_type)).flatMap((bets) => {
      const some = here.filter((d) => d.bet_type === bets), dy = shift(bets);
      return [
        Plot.ruleY(some.filter((d) => d[low] !== null), { y: "components", x1: (d) => by * d[low], x2: (d) => by * d[high], stroke: colour(bets), strokeOpacity: 0.6, dy }),
        Plot.dot(some, { y: "components", x: (d) => by * d[value], r: 2.6, fill: colour(bets), dy, tip: tipped, title: said }),
      ];
    });
    return plot({ width: across, height: 60 + 15 * order.length, marginLeft: 64, x: { label, labelAnchor: "center", labelArrow: "none", grid: true, nice: true },
      y: { label: null, domain: order, type: "point", tickSize: 0 }, marks });
  };
  return [legend(...distinct(all.map((d) => d.bet_type)).map((bets) => [colour(bets), known("bets." + bets, bets)])),
    ...models.map((model) => el("div", {}, models.length > 1 ? el("h3", {}, model) : null,
      facets(measures.map((m) => m[3]), Math.max(width, 300), (name, across) => one(model, measures.find((m) => m[3] === name), across))))];
}

/** Exp5's measures in their order; 100 for those in percentage points, as in sections/comparisons.py. */
const MEASURES = { bankruptcy: 100, stop: 100, aborted: 100, rounds: 1, betting: 1, extreme: 1, loss_chasing: 1 };

/** A control has the name of the feature that it is matched to. */
const rowName = (d) => d.f + (d.role === "feature" ? "" : ", " + t("word.random"));

/** Differences with intervals, a plot a measure: filled where the test counts. */
function forests(contrasts, colour, width) {
  const all = rows(data("held")).filter((d) => d.contrast in contrasts);
  const order = [...new Set(all.map(rowName))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const there = Object.keys(MEASURES).filter((name) => all.some((d) => d.measure === name));
  return facets(there.map((name) => t("difference." + name)), width, (label, across) => {
    const name = there.find((one) => t("difference." + one) === label), by = MEASURES[name];
    const here = all.filter((d) => d.measure === name);
    const at = (share) => by * share;
    const said = (d) => rowName(d) + "\n" + say.contrast(d.contrast) + ": " + signed(at(d.difference), by === 100 ? 0 : 2) +
      (d.ci_low === null ? "" : " [" + signed(at(d.ci_low), by === 100 ? 0 : 2) + ", " + signed(at(d.ci_high), by === 100 ? 0 : 2) + "]") +
      "\np = " + small(d.p) + ", q = " + small(d.q) + "\n" + t("tip.pairs", { n: d.pairs });
    const marks = Object.entries(contrasts).flatMap(([contrast, dy]) => {
      const some = here.filter((d) => d.contrast === contrast);
      return [
        Plot.ruleY(some.filter((d) => d.ci_low !== null), { y: rowName, x1: (d) => at(d.ci_low), x2: (d) => at(d.ci_high), stroke: colour, strokeWidth: 1.5, dy }),
        Plot.dot(some, { y: rowName, x: (d) => at(d.difference), r: 3.6, fill: (d) => (d.hit ? colour(d) : "var(--paper)"), stroke: colour, strokeWidth: 1.5, dy, tip: tipped, title: said }),
      ];
    });
    const made = plot({ width: across, height: 60 + 20 * order.length, marginLeft: 128, marginRight: 12,
      x: { label: by === 100 ? t("axis.difference") : null, labelAnchor: "center", labelArrow: "none", grid: true, nice: true, ticks: 3 },
      y: { label: null, domain: order, type: "point", tickSize: 0 }, marks: [Plot.ruleX([0], { stroke: "var(--grey)" }), ...marks] });
    made.addEventListener("click", () => { if (made.value) openCard(made.value.f); });
    return made;
  });
}

Object.assign(figures, {
  games(width) {
    return byCondition(rows(data("games")), [
      ["bankruptcy_rate", "bankruptcy_low", "bankruptcy_high", t("games.rate"), 100, "finished"],
      ["mean_bet", "bet_low", "bet_high", t("games.mean_bet"), 1, "finished"],
      ["mean_rounds", "rounds_low", "rounds_high", t("games.mean_rounds"), 1, "finished"]], width);
  },

  betting(width) {
    return byCondition(rows(data("betting")), ["betting", "extreme", "loss_chasing"].map((name) =>
      [name, name + "_low", name + "_high", t("measure." + name), 1, name + "_n"]), width);
  },

  persistent(width) {
    const all = data("persistent").map((d) => ({ ...d, arm: d.role === "baseline" ? say.arm(d.arm) : rowName(d) + ": " + say.arm(d.arm) }));
    const colour = (d) => (d.role === "feature" ? COLOURS.found : d.role === "baseline" ? COLOURS.ink : COLOURS.third);
    return [legend(...distinct(all.map((d) => d.role)).map((role) => [colour({ role }), say.role(role)])), plot({
      width: Math.min(width, 720), height: 60 + 20 * all.length, marginLeft: Math.min(210, 0.45 * width),
      x: { domain: [0, 100], label: t("games.rate"), labelAnchor: "center", labelArrow: "none", grid: true },
      y: { label: null, domain: all.map((d) => d.arm), tickSize: 0, type: "point" },
      marks: [
        Plot.ruleY(all.filter((d) => d.low !== null), { y: "arm", x1: (d) => 100 * d.low, x2: (d) => 100 * d.high, stroke: colour, strokeWidth: 1.5 }),
        Plot.dot(all.filter((d) => d.v !== null), { y: "arm", x: (d) => 100 * d.v, r: 4, fill: colour, tip: tipped, title: (d) => d.arm + "\n" + percent(d.v, 1) + " (n = " + d.n + ")" }),
      ],
    })];
  },

  held(width) {
    const colour = (d) => (d.role === "feature" ? COLOURS.found : COLOURS.third);
    return [legend(...["feature", "random_direction"].map((role) => [colour({ role }), say.role(role)]), [COLOURS.grey, t("legend.hollow"), true]),
      forests({ safe_vs_risky: 0 }, colour, width)];
  },

  unpatched(width) {
    const colour = (d) => (d.contrast === "safe_vs_baseline" ? COLOURS.safe : COLOURS.risky);
    return [legend([COLOURS.safe, t("arm.safe")], [COLOURS.risky, t("arm.risky")], [COLOURS.grey, t("legend.hollow"), true]),
      forests({ safe_vs_baseline: -3.5, risky_vs_baseline: 3.5 }, colour, width)];
  },
});
