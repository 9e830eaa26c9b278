// Plots are drawn when they come near the window, and again when its width or the language changes.

let libraries = null;

/** The plotting libraries lie in the page as text; only a page that draws pays for them. */
function load() {
  if (libraries) return;
  libraries = [...document.querySelectorAll("script.library")];
  for (const source of libraries) {
    const script = document.createElement("script");
    script.textContent = source.textContent;
    document.head.append(script);
  }
}

const seen = new Set();

function draw(figure) {
  const canvas = figure.querySelector(".canvas");
  if (canvas.clientWidth < 100) return;  // a window that is being made has no width yet
  load();
  canvas.replaceChildren(...[figures[figure.dataset.plot](canvas.clientWidth)].flat());
  canvas.style.minHeight = "0";  // it held the place before
  seen.add(figure);
}

function watch() {
  const all = [...document.querySelectorAll("figure.plot")];
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting) {
        observer.unobserve(entry.target);
        draw(entry.target);
      }
  }, { rootMargin: "400px" });
  all.forEach((figure) => observer.observe(figure));
  page.redraw.push(() => seen.forEach(draw));
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    seen.forEach(draw);
  });
  addEventListener("beforeprint", () => {
    all.forEach(draw);
    for (const details of document.querySelectorAll("details.paper")) details.open = true;
  });
}

const COLOURS = { safe: "var(--safe)", risky: "var(--risky)", found: "var(--found)", grey: "var(--grey)",
  ink: "var(--ink)", third: "var(--third)", paper: "var(--paper)" };

function legend(...entries) {
  return el("div", { class: "legend" }, entries.map(([colour, text, ring]) =>
    el("span", { style: "--c:" + colour, class: ring ? "ring" : null }, text)));
}

/** One plot for each name side by side, each with its name above. */
function facets(names, width, make) {
  const columns = Math.min(names.length, width > 900 ? 3 : width > 720 ? 2 : 1);
  const across = (width - 32 * (columns - 1)) / columns;
  return el("div", { class: "facets", style: `grid-template-columns:repeat(${columns},minmax(0,1fr))` }, names.map((name) =>
    el("div", {}, el("p", {}, name), make(name, across))));
}

function plot(options) {
  return Plot.plot({
    marginLeft: 48, marginBottom: 40, height: 320,
    style: { background: "transparent", color: "var(--ink)", fontSize: "12px", fontFamily: "var(--plain)" },
    ...options,
  });
}

/** Rows from columns. */
function rows(columns) {
  const names = Object.keys(columns);
  return columns[names[0]].map((_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
}

const distinct = (values) => [...new Set(values)].sort();

/** Ticks at whole layers only. */
function layerAxis(layers) {
  const last = Math.max(...layers), first = Math.min(...layers);
  const step = last - first <= 12 ? 1 : last - first <= 20 ? 2 : 5;
  return { label: t("axis.layer"), labelAnchor: "center", labelArrow: "none", domain: [first - 0.6, last + 0.6],
    ticks: d3.range(Math.ceil(first / step) * step, last + 1, step), tickFormat: "d" };
}

const tipped = { fill: "var(--paper)", stroke: "var(--line)", fontSize: 12 };
