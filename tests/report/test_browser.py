"""The page in a real browser: `pip install playwright`, and Chromium of the system (Debian: `apt install chromium`)."""

import shutil

import pytest

from tests.report.folder import HOSTILE, make_records
from thinlens.report.page import build_report
from thinlens.report.pareto import front
from thinlens.report.pool import AXES, our_points
from thinlens.report.records import Pool, Records

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright drives the browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "index.html").write_bytes(build_report(Records(make_records(folder, HOSTILE)), "1.2").files["index.html"])
    return folder


@pytest.fixture
def page(chromium, folder):
    """The page, which may neither complain nor ask for anything."""
    opened = chromium.new_page(viewport={"width": 1440, "height": 900})
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((folder / "index.html").as_uri())
    yield opened
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [(folder / "index.html").as_uri()]
    opened.close()


def focus_by_tab(page, selector):
    """Press Tab until what the selector names has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    raise AssertionError(f"Tab does not reach `{selector}`")


def marks(page):
    return page.locator("#plot [role=option]").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_the_screen(page, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
    page.wait_for_function("width => document.querySelector('#plot svg').viewBox.baseVal.width <= width", arg=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_front_in_the_table_is_pythons(page, folder):
    members = [it for it in Records(folder).get("pool.json", Pool).members if it.scale == 3]
    page.get_by_role("radio", name="x3").check(force=True)
    for axis in (AXES[0], AXES[2], AXES[4]):
        page.get_by_label("Against", exact=True).select_option("ms" if axis.is_time else axis.name)
        points = our_points(members, axis, "Set5")
        names = page.locator("#front tbody th").all_inner_texts()
        assert names == [points.members[at].name for at in front(points.pairs)]
        assert len(names) == 3


def test_families_are_toggled_by_keyboard(page):
    before = marks(page)
    assert focus_by_tab(page, "[data-family=espcn]") == "solid"
    page.keyboard.press("Space")
    assert marks(page) == before - 3
    assert page.get_by_role("button", name="ESPCN").get_attribute("aria-pressed") == "false"
    assert "espcn" not in page.locator("#front tbody").inner_text()
    page.keyboard.press("Enter")
    assert marks(page) == before


def test_all_families_may_be_off(page):
    buttons = page.locator("[data-family]")
    for at in range(buttons.count()):
        buttons.nth(at).click()
    assert page.get_by_text("Nothing to show").is_visible()
    assert page.locator("#front tbody tr").count() == 0
    page.locator("[data-family=espcn]").click()
    assert marks(page) == 3


def test_the_plot_is_walked_by_keyboard(page):
    assert focus_by_tab(page, "#plot svg") == "solid"
    page.keyboard.press("Home")
    seen = []
    for key in ("ArrowRight", "End", "ArrowLeft", "Home", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        chosen = page.locator("#plot [role=option][aria-selected=true]")
        assert page.locator("#plot svg").get_attribute("aria-activedescendant") == chosen.get_attribute("id")
        assert chosen.get_attribute("aria-label").startswith(page.locator("#card h3").inner_text())
        seen.append(page.locator("#card h3").inner_text())
    assert seen[1] == "fsrcnn_4_x2"  # the slowest, a ring: published, but not trained here
    assert seen[-1] == "espcn_2_x2"  # two steps along the front from its quickest


def test_the_mouse_chooses_the_nearest(page):
    page.locator("#plot").scroll_into_view_if_needed()
    box = page.locator("#plot [role=option]").last.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    chosen = page.locator("#plot [role=option][aria-selected=true]")
    assert chosen.bounding_box() == box


def test_the_slider_moves_by_keyboard(page):
    assert page.locator(".scenes").is_hidden()
    focus_by_tab(page, "#divide")
    assert page.evaluate("getComputedStyle(document.querySelector('.stage')).outlineStyle") == "solid"
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.stage .over')).clipPath") == "inset(0px 43% 0px 0px)"
    )
    slider = page.get_by_role("slider", name="Where the left picture ends")
    assert slider.get_attribute("aria-valuetext") == "57 % bicubic, 30.00 dB, the rest model, 30.00 dB"
    page.get_by_label("Right", exact=True).select_option(label="original")
    assert page.locator("#chip-right").inner_text() == "original, 30.00 dB"


def test_everything_has_a_name(page):
    page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
    snapshot = page.locator("body").aria_snapshot()
    roles = ("button", "link", "img", "combobox", "slider", "radio", "listbox", "option", "table", "region")
    unnamed = [line for line in snapshot.splitlines() if line.strip(" -:") in roles]
    assert unnamed == []
    assert 'listbox "Networks x2: PSNR on Set5 against Time to 1920x1080"' in snapshot


def test_without_scripts_every_picture_is_there(chromium, folder):
    page = chromium.new_page(java_script_enabled=False)
    page.goto((folder / "index.html").as_uri())
    assert page.locator(".scenes img:visible").count() == 6
    assert page.locator(".compare").is_hidden()
    assert "Choosing needs JavaScript" in page.locator("noscript p").text_content()
    page.close()


def test_motion_is_spared_where_asked(page):
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(behaviour) == "smooth"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(behaviour) == "auto"


def test_a_link_opens_the_page_that_it_leads_to(page):
    assert not page.locator("#page-memory").get_attribute("open")
    page.evaluate("location.hash = 'page-memory'")
    page.locator("#page-memory[open]").wait_for()
