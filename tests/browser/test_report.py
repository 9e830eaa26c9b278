"""The report in a browser: sorting, searching, cards, plots, two languages, no network, quick.

With PITBOSS_PICTURES=docs/images the pictures of the docs are made anew, from results/demo if that
is there.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pitboss.report.page import render
from pitboss.store import Store
from tests.browser import chromium
from tests.report import study

FIRST_VIEW = 2_000  # milliseconds
LATIN = {"Wilson", "Fisher", "arXiv", "menu", "cpu", "log", "llama", "gemma"}
"""What stays as it is in Korean: names of people, programs, models and conditions."""
DESK, PHONE = {"width": 1360, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.environ.get("PITBOSS_PICTURES"):
        demo = Path(os.environ.get("PITBOSS_RESULTS", chromium.ROOT / "results")) / "demo"
        if demo.is_dir():
            return render.write(Store.open(demo))
    return render.write(study.make(tmp_path_factory.mktemp("browser")))


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Any]:
    """Opens the page; nothing may be said on the console or asked of a network until the end."""
    contexts, wrong = [], []

    def opened(size: dict[str, int], **options: Any) -> Any:
        context = browser.new_context(viewport=size, offline=True, locale="en-GB", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: None if r.url == report.as_uri() else wrong.append(r.url[:99]))
        page.goto(report.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def picture(page: Any, name: str) -> None:
    chromium.picture(page, f"report-{name}", settle=500)


def names(page: Any) -> list[str]:
    return page.locator("#table .open").all_inner_texts()


def go_to(page: Any, section: str) -> None:
    page.evaluate(
        "name => document.getElementById(name).scrollIntoView({behavior: 'instant'})", section
    )


def test_the_first_view_is_there_at_once_without_any_plot(visit: Any) -> None:
    page = visit(DESK)
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
    timing = page.evaluate(
        "() => [performance.getEntriesByType('navigation')[0].loadEventEnd,"
        "       performance.getEntriesByName('first-contentful-paint')[0].startTime]"
    )
    assert max(timing) < FIRST_VIEW
    assert page.evaluate("() => typeof Plot") == "undefined" or page.locator("svg").count()
    assert "change the decision to stop" in page.locator(".lead").inner_text()
    picture(page, "headline")


def test_the_table_sorts_searches_and_filters(visit: Any) -> None:
    page = visit(DESK)
    go_to(page, "features")
    before = names(page)
    assert len(before) == 25
    sort = page.locator("th[data-column=difference] button")
    sort.click()
    shown = page.locator("#table tbody tr td:nth-child(3)").all_inner_texts()
    values = [float(text.replace("−", "-")) for text in shown]
    assert values == sorted(values, reverse=True)
    sort.click()
    assert page.locator("th[data-column=difference]").get_attribute("aria-sort") == "ascending"
    page.locator("select[data-filter=show]").select_option("causal")
    causal = names(page)
    assert 0 < len(causal) < 25 or causal != before
    go_to(page, "features")
    picture(page, "table")
    search = page.get_by_role("searchbox")
    search.fill(causal[0])
    assert causal[0] in names(page)
    search.fill("no such feature")
    assert names(page) == [] and page.get_by_text("No feature passes").is_visible()


def test_a_card_shows_arms_and_answers_and_texts_stay_texts(visit: Any) -> None:
    page = visit(DESK)
    go_to(page, "features")
    first = names(page)[0]
    page.locator("#table .open").first.click()
    card = page.get_by_role("dialog")
    layer, feature = first[1:].split("/F")
    assert card.get_by_text(f"Layer {layer}, feature {feature}").is_visible()
    assert card.locator(".answer").count() >= 3 and card.locator("mark").count() > 0
    assert page.evaluate("() => window.broken") is None
    assert page.url.endswith("#" + first)
    picture(page, "card")
    card.get_by_role("button", name="Next feature").click()
    assert not page.url.endswith("#" + first)
    page.keyboard.press("Escape")
    assert not card.is_visible() and "#" not in page.url


def test_plots_are_drawn_when_they_are_reached_and_open_cards(visit: Any) -> None:
    page = visit(DESK)
    go_to(page, "effects")
    volcano = page.locator("figure[data-plot=volcano] svg").first
    volcano.wait_for()
    assert volcano.locator("circle").count() > 2
    picture(page, "volcano")
    dot = page.locator("figure[data-plot=layers] svg circle").last
    dot.scroll_into_view_if_needed()
    dot.hover()
    page.mouse.down()
    page.mouse.up()
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    for figure in page.locator("figure.plot").all():
        figure.scroll_into_view_if_needed()
        figure.locator("svg").first.wait_for()
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(300)


def test_every_word_changes_its_language(visit: Any) -> None:
    page = visit(DESK)
    go_to(page, "effects")
    page.locator("figure[data-plot=volcano] svg").first.wait_for()
    page.evaluate("() => scrollTo(0, 0)")
    page.get_by_role("button", name="한국어").click()
    assert page.locator("html").get_attribute("lang") == "ko"
    text = page.locator("main").inner_text()
    assert "결과" in text and "What was found" not in text and "Show" not in text
    picture(page, "korean")
    page.locator("#table .open").first.click()
    assert "닫기" in page.get_by_role("dialog").inner_text()
    page.get_by_role("button", name="닫기").click()
    page.get_by_role("button", name="English").click()
    assert "What was found" in page.locator("main").inner_text()


def test_games_and_games_under_a_patch_in_both_languages(visit: Any) -> None:
    page = visit(DESK)
    go_to(page, "betting")
    for name in ("betting", "persistent", "held", "unpatched"):
        figure = page.locator(f"figure[data-plot={name}]")
        figure.scroll_into_view_if_needed()
        figure.locator("svg circle").first.wait_for()
    assert page.locator("figure[data-plot=held] .facets > div").count() >= 6  # one a measure
    filled = page.locator("figure[data-plot=held] circle[fill='var(--found)']")
    assert 0 < filled.count() < page.locator("figure[data-plot=held] circle").count()
    section = page.locator("#clamped_games")
    section.locator("h3").evaluate("head => head.scrollIntoView({behavior: 'instant'})")
    picture(page, "games")
    filled.first.scroll_into_view_if_needed()
    filled.first.hover()
    page.mouse.down()
    page.mouse.up()
    page.get_by_role("dialog").get_by_text("Layer").first.wait_for()
    page.keyboard.press("Escape")
    shown = section.locator(".families tbody tr").first.inner_text()
    assert shown.startswith("Bankruptcy") and re.search(r"\d of \d", shown)
    section.get_by_text("Every comparison in numbers").click()
    assert section.locator("td.hit").first.is_visible()
    page.evaluate("() => speak('ko')")
    assert section.locator(".families tbody tr").first.inner_text().startswith("파산")
    number = page.locator("#betting .num").first.get_attribute("title")
    assert number and "게임의 I_BA 평균" in number


def test_in_korean_only_names_and_code_are_latin(visit: Any) -> None:
    page = visit(DESK)
    page.evaluate("() => speak('ko')")
    for details in page.locator("main section details").all():
        details.evaluate("details => details.open = true")
    for section in page.locator("main section").evaluate_all("all => all.map((one) => one.id)"):
        if section in ("features", "words", "settings", "declared", "numbers"):
            continue  # tokens, words, settings and columns are the study's own
        go_to(page, section)
        shown = page.locator(f"#{section}")
        shown.evaluate("one => one.querySelectorAll('code, .raw').forEach((n) => n.remove())")
        text = re.sub(
            r"[\w./-]*/[\w.-]+|original-[\w-]+|\w+\.(parquet|json|md)", "", shown.inner_text()
        )
        left = {word for word in re.findall("[A-Za-z]{3,}", text) if not word.isupper()} - LATIN
        assert not left, (section, left)


def test_a_phone_shows_all_of_it_and_paper_the_strongest(visit: Any) -> None:
    page = visit(PHONE, device_scale_factor=2)
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    picture(page, "phone")
    page.emulate_media(media="print")
    assert not page.locator("#table").is_visible()
    assert page.locator(".static tbody tr").first.is_visible()
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#clamped_games .compared").first.is_visible()
