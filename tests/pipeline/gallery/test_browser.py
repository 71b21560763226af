"""The page as people meet it, in Chromium."""

from __future__ import annotations

import io
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from pipeline import settings
from tests.pipeline.conftest import BUCKET, ROOT
from tests.pipeline.gallery.browser import DESK, PHONE, chromium, opened, stopwatch, until
from tests.pipeline.gallery.conftest import Shelf

pytestmark = pytest.mark.slow

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (30, 150, 30)
HOSTILE = [
    "<img src=x onerror=alert(1)>.png",
    "<b></script><script>alert(1)<!--.png".replace("/", "\u2215"),
    "\"' onfocus=alert(1) autofocus x='.png",
    "50% #1?a=b&c;d+e\\f.png",
    "javascript:alert(1).png",
    "\u202egnp.exe \u2066.png",
    "e\u0301t\u00e9 \u6d77 \U0001f30a.png",
]
MAIN_THREAD_S = 3.0


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def plain(colour, size=(400, 300)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def written(root: Path, fill) -> Path:
    """The page of what `fill` puts on a shelf."""
    read = settings.read_settings(s3_root=ROOT, local_root=os.fspath(root), offline=True, dotenv=False)
    with settings.use(read):
        shelf = Shelf(root)
        fill(shelf)
        shelf.write()
    return shelf.page


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> str:
    """Three pictures, red ones, in two styles, one blue and one green; one result is broken, one was not made."""

    def fill(shelf):
        for number, name in enumerate(("holiday/sea.png", "holiday/sun.png", "moon.png")):
            colour = (RED[0] + number, *RED[1:])
            shelf.result(name, "candy", of=plain(colour), data=plain((*BLUE[:2], BLUE[2] + number)))
            if name != "moon.png":
                data = plain(GREEN) if "sea" in name else b"no picture"
                shelf.result(name, "mosaic", of=plain(colour), data=data)

    return written(tmp_path_factory.mktemp("small"), fill).as_uri()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    def fill(shelf):
        for number, name in enumerate(HOSTILE):
            data = plain((*BLUE[:2], number))
            made_by = {"engine": name, "<i>key</i>": [name]}
            shelf.result(name, f"style {name[:-4]}", of=plain((number, *RED[1:])), data=data, made_by=made_by)
        shelf.result("broken <u>.png", "mosaic", data=b"no picture")

    return written(tmp_path_factory.mktemp("hostile"), fill)


def pixel(page, x: float, y: float = 0.8) -> tuple[int, ...]:
    """The colour of the frame there, as parts of its width and height."""
    image = Image.open(io.BytesIO(page.locator("#frame").screenshot())).convert("RGB")
    return image.getpixel((int(x * (image.width - 1)), int(y * image.height)))


def is_like(found, wanted) -> bool:
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < 12


def pictures_are_there(page, number: int) -> None:
    """Wait until so many are drawn, and each of them has come."""
    expect(page.locator(".tile img")).to_have_count(number)
    until(page, "[...document.images].every(image => image.complete && image.naturalWidth)")


def open_first(page) -> None:
    page.locator("button.tile").first.click()
    page.locator("#after img").evaluate("image => image.decode()")
    page.locator("#before img").evaluate("image => image.decode()")


def test_it_opens_from_a_file_and_asks_nobody_else(browser, small):
    with opened(browser, small) as seen:
        names = seen.page.locator("#rows h3 bdi").all_text_contents()
        assert names == ["holiday/sea.png", "holiday/sun.png", "moon.png"]
        assert seen.page.locator("#heads span").all_text_contents() == ["Original", "candy", "mosaic"]
        assert seen.page.locator("#summary").text_content() == "4 results · 3 pictures · 2 styles · 1 failure"
        pictures_are_there(seen.page, 3 + 4)
        folder = small.rpartition("/")[0]
        assert [url for url in seen.asked if not url.startswith((f"{folder}/", "data:image/svg"))] == []


def test_the_wipe_follows_the_slider(browser, small):
    with opened(browser, small) as seen:
        open_first(seen.page)
        slider = seen.page.locator("#wipe")
        assert (slider.get_attribute("type"), slider.get_attribute("aria-valuetext")) == (
            "range",
            "50 % before, 50 % after",
        )
        assert is_like(pixel(seen.page, 0.4), RED)
        assert is_like(pixel(seen.page, 0.6), BLUE)
        for key, colour in (("Home", BLUE), ("End", RED)):
            slider.press(key)
            assert all(is_like(pixel(seen.page, x), colour) for x in (0.02, 0.5, 0.98))
        assert slider.get_attribute("aria-valuetext") == "100 % before, 0 % after"
        slider.press("ArrowLeft")
        assert 90 <= float(slider.input_value()) < 100


def test_the_wipe_follows_the_mouse(browser, small):
    with opened(browser, small) as seen:
        open_first(seen.page)
        box = seen.page.locator("#frame").bounding_box()
        at = [(box["x"] + part * box["width"], box["y"] + box["height"] / 2) for part in (0.5, 0.25)]
        seen.page.mouse.move(*at[0])
        seen.page.mouse.down()
        seen.page.mouse.move(*at[1], steps=5)
        seen.page.mouse.up()
        until(seen.page, "Math.abs(document.getElementById('wipe').value - 25) <= 1")
        assert is_like(pixel(seen.page, 0.2), RED)
        assert is_like(pixel(seen.page, 0.3), BLUE)


def test_the_wipe_follows_a_finger(browser, small):
    with opened(browser, small, size=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2) as seen:
        open_first(seen.page)
        box = seen.page.locator("#frame").bounding_box()
        session = seen.page.context.new_cdp_session(seen.page)
        y = box["y"] + box["height"] / 2

        def touch(kind, *parts):
            points = [{"x": box["x"] + part * box["width"], "y": y} for part in parts]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", 0.5)
        for part in (0.55, 0.6, 0.65, 0.7, 0.75):
            touch("touchMove", part)
        touch("touchEnd")
        until(seen.page, "Math.abs(document.getElementById('wipe').value - 75) <= 2")
        assert is_like(pixel(seen.page, 0.7), RED)


def test_all_of_it_works_by_keyboard(browser, small):
    with opened(browser, small) as seen:
        page = seen.page
        pictures_are_there(page, 3 + 4)
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('button.tile')"):
                break
        is_focused(page, "holiday/sea.png in candy")
        page.keyboard.press("ArrowRight")
        is_focused(page, "holiday/sea.png in mosaic")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowDown")
        is_focused(page, "holiday/sun.png in candy")
        page.keyboard.press("Enter")
        is_shown(page, "holiday/sun.pngin candy")
        expect(page.locator("#position")).to_have_text("3 of 4")
        page.keyboard.press("ArrowDown")
        is_shown(page, "moon.pngin candy")
        page.keyboard.press("ArrowRight")  # the last stays
        is_shown(page, "moon.pngin candy")
        for _ in range(2):
            page.keyboard.press("ArrowLeft")
        is_shown(page, "holiday/sea.pngin mosaic")
        page.keyboard.press("Escape")
        expect(page.locator("#viewer")).to_be_hidden()
        is_focused(page, "holiday/sea.png in mosaic")


def is_focused(page, label: str) -> None:
    """Wait until it is: a dialog says only later that it was closed."""
    expect(page.locator(":focus")).to_have_attribute("aria-label", label)


def is_shown(page, title: str) -> None:
    expect(page.locator("#viewer-title")).to_have_text(title)


def test_the_buttons_go_on_and_back_and_close(browser, small):
    with opened(browser, small) as seen:
        open_first(seen.page)
        assert seen.page.locator("#previous").is_disabled()
        seen.page.locator("#next").click()
        is_shown(seen.page, "holiday/sea.pngin mosaic")
        seen.page.locator("#previous").click()
        is_shown(seen.page, "holiday/sea.pngin candy")
        seen.page.locator("#close").click()
        expect(seen.page.locator("#viewer")).to_be_hidden()


def test_what_a_result_was_made_from_is_told(browser, small):
    with opened(browser, small) as seen:
        open_first(seen.page)
        told = dict(zip(*(seen.page.locator(f"#facts {tag}").all_text_contents() for tag in ("dt", "dd")), strict=True))
        assert told["Engine"] == "torch"
        assert told["Precision"] == "float32"
        assert told["Longest side"] == "as it is"
        assert f"{ROOT}/saved_models/candy.pth" in told.values()
        digests = [text for text in seen.page.locator("#facts code").all_text_contents() if len(text) == 64]
        assert len(set(digests)) == 3


def test_links_lead_to_the_files(browser, small):
    with opened(browser, small) as seen:
        open_first(seen.page)
        links = seen.page.locator("#links a").evaluate_all("links => links.map(link => link.href)")
        paths = [Path(unquote(urlsplit(link).path)) for link in links]
        assert [path.parts[-4:] for path in paths] == [
            ("stylized", "candy", "holiday", "sea.png"),
            (*paths[1].parts[-4:-3], "images", "holiday", "sea.png"),
        ]
        assert all(path.is_file() for path in paths)


def test_a_picture_that_has_another_shape_by_now_is_not_stretched(browser, tmp_path):
    def fill(shelf):
        shelf.result("sea.png", "mosaic", of=plain(RED), data=plain(BLUE))
        shelf.picture("sea.png", plain(RED, size=(200, 400)))

    with opened(browser, written(tmp_path, fill).as_uri()) as seen:
        open_first(seen.page)
        assert seen.page.locator("#notes").text_content() == "Note: the picture has changed since this was made."
        seen.page.locator("#wipe").press("End")
        assert is_like(pixel(seen.page, 0.5), RED)
        assert not is_like(pixel(seen.page, 0.2), RED)
        assert not is_like(pixel(seen.page, 0.2), BLUE)


def test_failures_are_told_with_their_reasons(browser, small):
    with opened(browser, small) as seen:
        (told,) = seen.page.locator("#failed li").all_text_contents()
        assert told.startswith("holiday/sun.png in mosaic: not a picture of a kind that can be read")
        bad = seen.page.locator("a.tile.bad")
        expect(bad).to_have_count(1)
        bad.click()
        expect(seen.page).to_have_url(f"{small}#failure-0")


def test_pictures_are_found_by_text_and_by_style(browser, small):
    with opened(browser, small) as seen:
        page = seen.page
        page.fill("#find", "SUN holi")
        until(page, "document.getElementById('status').textContent.startsWith('1 of 3')")
        assert page.locator("#rows li:visible h3 bdi").all_text_contents() == ["holiday/sun.png"]
        page.fill("#find", "")
        page.locator(".chip", has_text="mosaic").click()
        expect(page.locator("#heads span")).to_have_text(["Original", "mosaic"])
        expect(page.locator("#rows li:visible h3 bdi")).to_have_text(["holiday/sea.png", "holiday/sun.png"])
        page.locator(".chip", has_text="mosaic").click()
        expect(page.locator("#rows li:visible")).to_have_count(3)
        page.fill("#find", "nothing like it")
        page.locator("#nothing").wait_for()


def test_an_address_names_what_is_open(browser, small):
    with opened(browser, f"{small}#mosaic%2Fholiday%2Fsea.png") as seen:
        is_shown(seen.page, "holiday/sea.pngin mosaic")
        seen.page.keyboard.press("ArrowLeft")
        expect(seen.page).to_have_url(f"{small}#candy%2Fholiday%2Fsea.png")
        seen.page.keyboard.press("Escape")
        expect(seen.page).to_have_url(small)
        seen.page.evaluate("location.hash = 'candy%2Fmoon.png'")
        seen.page.locator("#viewer-title", has_text="moon.png").wait_for()


def test_what_is_opened_as_soon_as_another_is_closed_keeps_its_address(browser, small):
    with opened(browser, small) as seen:
        open_first(seen.page)
        tiles = "document.querySelectorAll('button.tile')"
        closed = "new Promise(done => document.getElementById('viewer').addEventListener('close', done))"
        seen.page.evaluate(
            f"async () => {{ const closed = {closed}; document.getElementById('close').click(); {tiles}[1].click();"
            " await closed; }"
        )
        is_shown(seen.page, "holiday/sea.pngin mosaic")
        expect(seen.page).to_have_url(f"{small}#mosaic%2Fholiday%2Fsea.png")


def test_hostile_names_are_shown_and_do_nothing(browser, hostile):
    with opened(browser, hostile.as_uri()) as seen:
        page = seen.page
        assert sorted(page.locator("#rows h3 bdi").all_text_contents()) == sorted(HOSTILE)
        assert page.locator("script").count() == 2
        assert page.locator("#failed li").text_content().startswith("broken <u>.png in mosaic: ")
        opened_names = []
        for number in range(len(HOSTILE)):
            page.locator("button.tile").nth(number).click()
            expect(page.locator("#position")).to_have_text(f"{number + 1} of {len(HOSTILE)}")
            name = page.locator("#viewer-title bdi").first.text_content()
            opened_names.append(name)
            links = page.locator("#links a").evaluate_all("links => links.map(link => link.href)")
            paths = [Path(unquote(urlsplit(link).path)) for link in links]
            assert [path.name for path in paths] == [name, name]
            assert all(link.startswith("file:///") for link in links)
            assert all(path.is_file() for path in paths)
            assert page.locator("#facts, #viewer-title").locator("i, img, script, u").count() == 0
            assert f'["{name}"]' in page.locator("#facts").text_content().replace('\\"', '"').replace("\\\\", "\\")
            page.keyboard.press("Escape")
        assert sorted(opened_names) == sorted(HOSTILE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_there_is_nothing_in_the_way_of_anybody(browser, small, scheme, size):
    with opened(browser, small, size=size, color_scheme=scheme) as seen:
        pictures_are_there(seen.page, 3 + 4)
        assert violations(seen.page) == []
        open_first(seen.page)
        assert violations(seen.page) == []


def violations(page) -> list[str]:
    """What axe-core has to say against a page."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


def test_nothing_is_wider_than_a_phone(browser, hostile, small):
    for address in (hostile.as_uri(), small):
        with opened(browser, address, size=PHONE, is_mobile=True, has_touch=True) as seen:
            seen.page.locator("button.tile").first.wait_for()
            assert seen.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
            seen.page.locator("button.tile").first.click()
            assert seen.page.locator("#viewer").evaluate("dialog => dialog.scrollWidth") == PHONE[0]


def test_light_and_dark_are_as_the_system_has_them(browser, small):
    background = "getComputedStyle(document.documentElement).backgroundColor"
    shades = []
    for scheme in ("light", "dark"):
        with opened(browser, small, color_scheme=scheme) as seen:
            shades.append(sum(map(int, seen.page.evaluate(background)[4:-1].split(","))))
    assert shades[0] > 3 * 200 > 3 * 50 > shades[1]


@pytest.mark.parametrize(("wanted", "seconds"), [("reduce", "0s"), ("no-preference", "0.16s")])
def test_who_wants_no_motion_has_none(browser, small, wanted, seconds):
    with opened(browser, small, reduced_motion=wanted) as seen:
        tile = seen.page.locator("button.tile").first
        assert tile.evaluate("tile => getComputedStyle(tile).transitionDuration").split(",")[0] == seconds


def test_without_scripts_a_line_says_so(browser, small):
    with opened(browser, small, java_script_enabled=False) as seen:
        assert seen.page.locator("noscript p").is_visible()


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> str:
    """2,000 pictures in two styles."""

    def fill(shelf):
        for number in range(2000):
            name = f"album {number // 100:02}/picture {number:04}.png"
            of = plain((number % 256, number // 256, 90), size=(32, 24))
            for style in (1, 2):
                data = plain((number % 256, number // 256, 200 + style), size=(32, 24))
                shelf.result(name, f"style {style}", of=of, data=data)

    return written(tmp_path_factory.mktemp("large"), fill).as_uri()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_two_thousand_pictures_open_in_little_time(browser, large, size):
    with opened(browser, "about:blank", size=size) as seen:
        page = seen.page
        busy_s = stopwatch(page)
        page.goto(large)
        until(page, "document.querySelector('button.tile img')?.complete")
        page.wait_for_timeout(500)
        assert 0.01 < busy_s() < MAIN_THREAD_S  # nothing at all would be of another page
        assert page.locator("#rows li").count() == 2000
        assert page.locator(".tile img").count() < 300
        page.fill("#find", "1999")
        until(page, "document.getElementById('status').textContent.startsWith('1 of 2,000')")
        page.locator("button.tile:visible").first.click()
        is_shown(page, "album 19/picture 1999.pngin style 1")


def test_the_last_of_two_thousand_is_drawn_when_it_is_reached(browser, large):
    with opened(browser, large) as seen:
        seen.page.locator("button.tile img").first.wait_for()  # how high a row is, is known by then
        seen.page.locator("#rows li").last.scroll_into_view_if_needed()
        tiles = seen.page.locator("#rows li").last.locator("button.tile img")
        expect(tiles).to_have_count(2)
        until(seen.page, "document.querySelector('#rows li:last-child button.tile img').naturalWidth == 32")


def test_a_published_page_works_as_it_lies_in_s3(browser, bucket, run, moto_endpoint, moto_store):
    status, _, err = run("-i", "luigi.jpg", "-m", "mosaic", "--publish")
    assert status == 0, err
    assert run("gallery", "--publish")[0] == 0
    for key in moto_store.keys(BUCKET):
        moto_store.plain.put_object_acl(Bucket=BUCKET, Key=key, ACL="public-read")
    address = f"{moto_endpoint}/{bucket.root.removeprefix('s3://')}/gallery/index.html"
    with opened(browser, address) as seen:
        pictures_are_there(seen.page, 2)
        seen.page.locator("button.tile").click()
        expect(seen.page.locator("#links a")).to_have_count(2)
        links = seen.page.locator("#links a").evaluate_all("links => links.map(link => link.href)")
        answers = [seen.page.context.request.get(link) for link in links]
        assert [(answer.status, answer.headers["content-type"]) for answer in answers] == [(200, "image/jpeg")] * 2
