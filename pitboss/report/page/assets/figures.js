// Every figure: width in, elements out. Data are made in pitboss/report/page/sections.

const figures = {
  volcano(width) {
    const { dots, prompts } = data("volcano");
    const roles = distinct(dots.map((d) => d.r)).filter((r) => r !== "feature");
    const colour = (d) => (d.r !== "feature" ? COLOURS.third : d.h ? COLOURS.found : COLOURS.grey);
    const top = Math.max(1, ...dots.map((d) => d.y));
    const title = (d) => say.role(d.r) + "\n" + t("tip.points", { points: signed(d.x, 0) }) + "\np = " +
      small(10 ** -d.y) + "\n" + d.f.join(", ") + (d.n > d.f.length ? t("tip.more", { n: d.n - d.f.length }) : "");
    const key = [[COLOURS.found, t("legend.causal")], [COLOURS.grey, t("legend.other")]];
    if (roles.length) key.push([COLOURS.third, t("legend.controls"), true]);
    return [legend(...key), facets(prompts, width, (prompt, across) => {
      const here = dots.filter((d) => d.p === prompt).sort((a, b) => b.n - a.n);
      const made = plot({
        width: across, height: 340, insetBottom: 12,
        x: { domain: [-100, 100], label: t("axis.points"), labelAnchor: "center", labelArrow: "none" },
        y: { domain: [0, top * 1.06], label: "−log₁₀ p", grid: true, labelArrow: "none" },
        r: { range: [3.5, 14], domain: [1, Math.max(30, d3.max(dots, (d) => d.n))] },
        marks: [
          Plot.ruleX([0], { stroke: "var(--line)" }),
          Plot.dot(here.filter((d) => d.r === "feature"), { x: "x", y: "y", r: "n", fill: colour, fillOpacity: 0.75, stroke: "var(--paper)", strokeWidth: 0.5 }),
          Plot.dot(here.filter((d) => d.r !== "feature"), { x: "x", y: "y", r: "n", stroke: colour, strokeWidth: 1.6 }),
          Plot.tip(here, Plot.pointer({ x: "x", y: "y", title, ...tipped })),
        ],
      });
      made.addEventListener("click", () => { if (made.value) openCard(made.value.f[0]); });
      return made;
    })];
  },

  layers(width) {
    const { bars, dots } = data("layers");
    const axis = layerAxis(bars.map((b) => b.l));
    const jitter = (d, i) => d.l + (((i * 0.618034) % 1) - 0.5) * 0.5;
    return [legend([COLOURS.found, t("legend.causal")], [COLOURS.grey, t("legend.spread")]),
      facets(distinct(bars.map((b) => b.p)), width, (prompt, across) => {
        const made = plot({
          width: across, x: axis,
          y: { domain: [-100, 100], label: t("axis.points"), grid: true, labelArrow: "none" },
          marks: [
            Plot.ruleY([0], { stroke: "var(--line)" }),
            Plot.ruleX(bars.filter((b) => b.p === prompt), { x: "l", y1: (b) => b.q[0], y2: (b) => b.q[4], stroke: "var(--grey)", strokeOpacity: 0.45, strokeWidth: 3 }),
            Plot.ruleX(bars.filter((b) => b.p === prompt), { x: "l", y1: (b) => b.q[1], y2: (b) => b.q[3], stroke: "var(--grey)", strokeWidth: 5 }),
            Plot.dot(dots.filter((d) => d.p === prompt), { x: jitter, y: "x", r: 3, fill: COLOURS.found, fillOpacity: 0.75 }),
            Plot.tip(dots.filter((d) => d.p === prompt), Plot.pointer({ x: jitter, y: "x", title: (d) => named(d.l, d.f) + "\n" + t("tip.points", { points: signed(d.x, 0) }), ...tipped })),
          ],
        });
        made.addEventListener("click", () => { if (made.value) openCard(named(made.value.l, made.value.f)); });
        return made;
      })];
  },

  dose(width) {
    const all = data("dose");
    return facets(distinct(all.map((d) => d.p)), width, (prompt, across) => plot({
      width: across, x: { label: t("axis.value"), labelAnchor: "center", labelArrow: "none" },
      y: { domain: [0, 100], label: t("axis.stop"), grid: true, labelArrow: "none" },
      marks: [
        Plot.ruleX(all.filter((d) => d.p === prompt), { x: "v", y1: (d) => 100 * d.low, y2: (d) => 100 * d.high, stroke: "var(--grey)", strokeOpacity: 0.5 }),
        Plot.line(all.filter((d) => d.p === prompt), { x: "v", y: (d) => 100 * d.r, z: "f", stroke: "var(--safe)", strokeOpacity: 0.7 }),
        Plot.dot(all.filter((d) => d.p === prompt), { x: "v", y: (d) => 100 * d.r, r: 3, fill: "var(--safe)", tip: tipped, title: (d) => d.f + "\n" + say.arm(d.a) + ": " + small(d.v) + "\n" + percent(d.r) }),
      ],
    }));
  },

  screening(width) {
    const { layers, density } = data("screening");
    const most = Math.max(1e-9, ...layers.map((b) => Math.max(Math.abs(b.low), Math.abs(b.high))));
    const around = (limit) => { const top = Math.floor(Math.log10(limit)), powers = [top - 1, top].map((n) => 10 ** n); return [...powers.map((n) => -n), 0, ...powers]; };
    return facets([t("screening.by_layer"), t("screening.sizes")], width, (name, across) => name === t("screening.by_layer")
      ? plot({
        width: across, x: layerAxis(layers.map((b) => b.l)),
        y: { type: "symlog", constant: most / 100, label: t("axis.logodds"), grid: true, labelArrow: "none", ticks: around(most), tickFormat: "~g" },
        marks: [
          Plot.ruleY([0], { stroke: "var(--line)" }),
          Plot.ruleX(layers, { x: "l", y1: "low", y2: "high", stroke: "var(--grey)", strokeOpacity: 0.35 }),
          Plot.ruleX(layers, { x: "l", y1: (b) => b.q[0], y2: (b) => b.q[4], stroke: "var(--grey)", strokeWidth: 3 }),
          Plot.ruleX(layers, { x: "l", y1: (b) => b.q[1], y2: (b) => b.q[3], stroke: "var(--ink)", strokeWidth: 5 }),
          Plot.tip(layers, Plot.pointerX({ x: "l", y: "high", title: (b) => t("axis.layer") + " " + b.l + "\n" + t("tip.features", { n: b.n.toLocaleString("en") }) + "\n1–99 %: " + small(b.q[0]) + " … " + small(b.q[4]) + "\n" + t("tip.extremes") + ": " + small(b.low) + " … " + small(b.high), ...tipped })),
        ],
      })
      : plot({
        width: across, x: { label: t("axis.logsize"), labelAnchor: "center", labelArrow: "none" },
        y: { type: "symlog", label: t("axis.features"), grid: true, labelArrow: "none", ticks: [0, 1, 10, 100, 1000, 1e4, 1e5].filter((n) => n <= Math.max(...density.map((d) => d.n))), tickFormat: "~s" },
        marks: [
          Plot.rectY(density, { x1: "a", x2: "b", y: "n", fill: "var(--grey)", inset: 0.5 }),
          Plot.tip(density, Plot.pointerX({ x: (d) => (d.a + d.b) / 2, y: "n", title: (d) => small(10 ** d.a) + " – " + small(10 ** d.b) + "\n" + t("tip.features", { n: d.n.toLocaleString("en") }), ...tipped })),
        ],
      }));
  },

  curve(width) {
    const all = rows(data("curve"));
    const colour = (d) => (d.outcome === "bankruptcy" ? COLOURS.risky : COLOURS.safe);
    const last = all.filter((d) => d.before_end === 0 && ["bankruptcy", "voluntary_stop"].includes(d.outcome));
    const stops = all.filter((d) => d.outcome === "voluntary_stop" && d.decisions >= 3 && d.before_end <= 8);
    const most = Math.max(1e-9, ...stops.map((d) => Math.abs(d.score)));
    const axis = layerAxis(all.map((d) => d.layer));
    const names = [t("pathway.last"), t("pathway.before")];
    return [legend([COLOURS.safe, t("outcome.voluntary_stop")], [COLOURS.risky, t("outcome.bankruptcy")]),
      facets(names, width, (name, across) => name === names[0]
        ? plot({
          width: across, x: axis, y: { label: t("axis.score"), grid: true, labelArrow: "none" },
          marks: [
            Plot.ruleY([0], { stroke: "var(--line)" }),
            Plot.areaY(last, { x: "layer", y1: "low", y2: "high", z: "outcome", fill: colour, fillOpacity: 0.16 }),
            Plot.line(last, { x: "layer", y: "score", z: "outcome", stroke: colour, strokeWidth: 2 }),
            Plot.dot(last, { x: "layer", y: "score", fill: colour, r: 2.5, tip: tipped, title: (d) => say.outcome(d.outcome) + "\n" + t("axis.layer") + " " + d.layer + ": " + small(d.score) + " [" + small(d.low) + ", " + small(d.high) + "]" }),
          ],
        })
        : plot({
          width: across, marginRight: 8, y: { label: t("axis.layer"), reverse: true, labelArrow: "none" },
          x: { label: t("axis.before"), reverse: true, labelAnchor: "center", labelArrow: "none" },
          color: { type: "diverging", domain: [-most, most], range: ["#b0431f", "#f4efe6", "#1d5c96"], legend: false },
          marks: [Plot.cell(stops, { x: "before_end", y: "layer", fill: "score", inset: 0.5, tip: tipped, title: (d) => t("axis.layer") + " " + d.layer + ", −" + d.before_end + "\n" + small(d.score) + " (n = " + d.decisions + ")" })],
        }))];
  },

  decodability(width) {
    const all = rows(data("decodability"));
    const inputs = distinct(all.map((d) => d.inputs));
    const colour = (d) => ({ sae: COLOURS.safe, residual: COLOURS.third, baseline: COLOURS.grey })[d.inputs] || COLOURS.ink;
    return [legend(...inputs.map((name) => [colour({ inputs: name }), known("inputs." + name, name)])),
      facets(distinct(all.map((d) => d.grouping)).map((name) => known("grouping." + name, name)), width, (name, across) => {
        const here = all.filter((d) => known("grouping." + d.grouping, d.grouping) === name);
        return plot({
          width: across, x: layerAxis(all.map((d) => d.layer)),
          y: { domain: [Math.min(0.4, ...all.map((d) => d.low)), 1], label: t("axis.auc"), grid: true, labelArrow: "none" },
          marks: [
            Plot.ruleY([0.5], { stroke: "var(--ink)", strokeDasharray: "3 3", strokeOpacity: 0.5 }),
            Plot.areaY(here, { x: "layer", y1: "low", y2: "high", z: "inputs", fill: colour, fillOpacity: 0.13 }),
            Plot.line(here, { x: "layer", y: "auc", z: "inputs", stroke: colour, strokeWidth: 2 }),
            Plot.dot(here, { x: "layer", y: "auc", fill: colour, r: 2.5, tip: tipped, title: (d) => known("inputs." + d.inputs, d.inputs) + "\n" + t("axis.layer") + " " + d.layer + ": " + small(d.auc) + " [" + small(d.low) + ", " + small(d.high) + "]" }),
          ],
        });
      })];
  },

  lens(width) {
    const all = rows(data("lens"));
    const colour = (d) => (d.decision === "stop" ? COLOURS.safe : COLOURS.risky);
    return [legend([COLOURS.safe, t("decision.stop")], [COLOURS.risky, t("decision.bet")]), plot({
      width: Math.min(width, 720), x: layerAxis(all.map((d) => d.layer)), y: { label: t("axis.margin"), grid: true, labelArrow: "none" },
      marks: [
        Plot.ruleY([0], { stroke: "var(--line)" }),
        Plot.areaY(all, { x: "layer", y1: "margin_low", y2: "margin_high", z: "decision", fill: colour, fillOpacity: 0.16 }),
        Plot.line(all, { x: "layer", y: "margin", z: "decision", stroke: colour, strokeWidth: 2 }),
        Plot.dot(all, { x: "layer", y: "margin", fill: colour, r: 2.5, tip: tipped, title: (d) => known("decision." + d.decision, d.decision) + "\n" + t("axis.layer") + " " + d.layer + ": " + small(d.margin) + " (n = " + d.n + ")" }),
      ],
    })];
  },

  attribution(width) {
    const all = rows(data("attribution"));
    const made = plot({
      width: Math.min(width, 560), height: 400, x: { label: t("axis.attributed"), labelAnchor: "center", labelArrow: "none", grid: true },
      y: { label: t("axis.patched"), grid: true, labelArrow: "none" },
      marks: [
        Plot.ruleX([0], { stroke: "var(--line)" }), Plot.ruleY([0], { stroke: "var(--line)" }),
        Plot.dot(all, { x: "attribution", y: "patched", r: 3, fill: COLOURS.safe, fillOpacity: 0.55 }),
        Plot.tip(all, Plot.pointer({ x: "attribution", y: "patched", title: (d) => named(d.layer, d.feature) + "\n" + small(d.attribution) + " / " + small(d.patched), ...tipped })),
      ],
    });
    made.addEventListener("click", () => { if (made.value) openCard(named(made.value.layer, made.value.feature)); });
    return made;
  },

  words(width) {
    const all = data("words");
    const colour = (d) => (d.z > 0 ? COLOURS.safe : COLOURS.risky);
    return [legend([COLOURS.safe, t("arm.safe")], [COLOURS.risky, t("arm.risky")]),
      facets(distinct(all.map((d) => d.p)), width, (prompt, across) => {
        const here = all.filter((d) => d.p === prompt);
        return plot({
          width: across, height: 60 + 20 * here.length, marginLeft: 96,
          x: { label: t("axis.z"), labelAnchor: "center", labelArrow: "none", grid: true },
          y: { label: null, domain: here.map((d) => d.w).reverse(), tickSize: 0 },
          marks: [
            Plot.barX(here, { x: "z", y: "w", fill: colour, fillOpacity: (d) => (d.q <= 0.05 ? 1 : 0.35), inset: 1.5, tip: tipped, title: (d) => d.w + "\nz = " + small(d.z) + ", q = " + small(d.q) + "\n" + t("arm.safe") + " " + d.s + ", " + t("arm.risky") + " " + d.r }),
            Plot.ruleX([0], { stroke: "var(--ink)" }),
          ],
        });
      })];
  },
};
