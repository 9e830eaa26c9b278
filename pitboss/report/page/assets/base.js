"use strict";
// Small things that everything else uses: data, texts in two languages, elements, numbers.

const page = { language: "en", parsed: {}, redraw: [] };

/** The data block of that name, read when first asked for; null where the study has none. */
function data(name) {
  if (!(name in page.parsed)) {
    const block = document.getElementById("data-" + name);
    page.parsed[name] = block ? JSON.parse(block.textContent) : null;
  }
  return page.parsed[name];
}

/** A text in the language shown, its {braces} filled in. */
function t(key, parts = {}) {
  const text = data("strings")[page.language][key];
  if (text === undefined) throw new Error("no text " + key);
  return text.replace(/\{(\w+)\}/g, (_, name) => parts[name]);
}

/** An element; texts become text nodes, never markup. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const points = (share) => (share === null ? "–" : signed(100 * share, 0));
const signed = (value, digits) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);
const percent = (share, digits = 0) => (share === null ? "–" : (100 * share).toFixed(digits) + " %");
const named = (layer, feature) => "L" + layer + "/F" + feature;

function small(value) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1).replace("-", "−");
  return String(Number(value.toPrecision(3)));
}

const say = { contrast: (name) => known("contrast." + name, name), role: (name) => known("role." + name, name),
  arm: (name) => known("arm." + name, name), outcome: (name) => known("outcome." + name, name) };

/** The text of a name the page knows, or the name itself. */
function known(key, name) {
  return data("strings")[page.language][key] === undefined ? name : t(key);
}

function speak(language) {
  page.language = language;
  const root = document.documentElement;
  root.lang = language;
  root.dataset.lang = language;
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  for (const node of document.querySelectorAll("[data-t-label]"))
    node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll(".num[data-ko]")) {
    node.dataset.en = node.dataset.en || node.title;
    node.title = node.dataset[language];
  }
  for (const again of page.redraw) again();
}
