// What happens when the page opens.

document.documentElement.classList.remove("noscript");

for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => speak(button.dataset.language));
const place = document.getElementById("table");
if (place) featureTable(place);
watch();
document.getElementById("card").addEventListener("close", closeCard);
document.getElementById("card").addEventListener("click", (event) => { if (event.target.id === "card") event.target.close(); });
page.redraw.push(() => { if (card.open) openCard(card.open); });
const named_by_address = () => { const name = decodeURIComponent(location.hash.slice(1)); if (name !== card.open && placeOf(name) >= 0) openCard(name); };
addEventListener("hashchange", named_by_address);
named_by_address();
if (navigator.language && navigator.language.startsWith("ko")) speak("ko");
