"""The page in a real browser against the real server. Usage: test_page.py"""
import glob
import os
import sys
import threading
import time
import traceback
import urllib.request

from selenium.webdriver.common.actions import interaction
from selenium.webdriver.common.keys import Keys

from browser import ROOT, Page, Proxy, Server, make_key
from strokes import DIGITS, ODD

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def same(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def axe(page):
    """What axe-core finds (`make page` fetches it)."""
    [script] = glob.glob(os.path.join(
        ROOT, "build/page-venv/lib/*/site-packages/axe_playwright_python",
        "axe.min.js"))
    with open(script) as file:
        page.js(file.read())
    found = page.driver.execute_async_script(
        "axe.run(document).then(arguments[arguments.length - 1])")
    return [f"{v['id']}: {n['html']} {n['failureSummary']}"
            for v in found["violations"] for n in v["nodes"]]


def accessible(page):
    """Nothing that axe or access.js finds, as the page is now."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "access.js")
    with open(script) as file:
        check = file.read()
    same(axe(page), [])
    same(page.js(check), [])


@test
def it_is_small_strict_and_alone(page, server):
    request = urllib.request.Request(server.url, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy, policy
    same(server.ask("/"), {"status": "alive"})
    page.open(server.url)
    names = page.js("return performance.getEntriesByType('resource')"
                    ".map((e) => e.name)")
    assert names and all(n.startswith(server.url) for n in names), names
    with urllib.request.urlopen(request) as answer:
        size = len(answer.read())
    for name in {n for n in names if "/page/" in n}:
        with urllib.request.urlopen(name) as answer:
            size += len(answer.read())
    assert size < 150_000, size
    page.open(server.url)  # the first time Chromium itself warms up
    page.until(lambda: page.text("#labels"))
    paint = page.js("return performance.getEntriesByName("
                    "'first-contentful-paint')[0].startTime")
    print(f"     {size} bytes, first contentful paint after {paint:.0f} ms")
    same(page.js("return getComputedStyle(document.body).maxWidth"), "1216px")


@test
def ten_digits_are_drawn_and_read(page, server):
    page.open(server.url)
    read = []
    for strokes in DIGITS:
        page.draw(strokes)
        read.append(page.answered())
        assert page.bars().count("") == 0
        page.clear()
    print("     read as " + " ".join(read))
    assert sum(r == str(i) for i, r in enumerate(read)) >= 9, read


@test
def a_finger_and_a_pen_draw_too(page, server):
    page.look(390, 844, "light")
    page.open(server.url)
    for pointer in (interaction.POINTER_TOUCH, interaction.POINTER_PEN):
        page.draw(DIGITS[3], pointer)
        same(page.answered(), "3")
        page.clear()
    # A stroke of a finger on the paper moves no page, one beside it does.
    page.js("window.scrollTo(0, 0)")
    canvas = page.find("#draw").rect
    top = page.js("return document.querySelector('#draw')"
                  ".getBoundingClientRect().top")
    middle = canvas["x"] + canvas["width"] / 2
    page.swipe(middle, top + canvas["height"] - 10, middle, top + 10)
    same(page.js("return window.scrollY"), 0)
    page.swipe(middle, 800, middle, 300)
    page.until(lambda: page.js("return window.scrollY") > 100)


@test
def teaching_moves_the_bars_and_lasts(page, server):
    page.open(server.url)
    page.draw(ODD)
    said = page.answered()
    assert said != "1", "the model knows this one by now"
    before = page.bars()
    page.find("#labels button:nth-child(2)").click()
    page.until(lambda: page.text("#learned"))
    same(page.bars("#before"), before)
    same(page.answered(), "1")
    assert page.bars() != before
    same(page.bars("#after"), page.bars())
    assert "forgot nothing: of 500" in page.text("#kept"), page.text("#kept")
    taught, version = page.bars(), page.version()
    page.open(server.url)
    same(len(page.all("#feed li")), 1)
    page.draw(ODD)
    same((page.answered(), page.bars(), page.version()), ("1", taught, version))
    server.stop()
    server.start()
    page.open(server.url)
    page.draw(ODD)
    same((page.answered(), page.bars(), page.version()), ("1", taught, version))
    same(len(page.all("#feed li")), 1)

    # Taken back; then the taking back is taken back.
    page.find("#feed button").click()
    page.until(lambda: len(page.all("#feed li")) == 2)
    same((page.answered(), page.bars()), (said, before))
    assert page.all("#feed li.gone")
    page.find("#feed button").click()
    page.until(lambda: len(page.all("#feed li")) == 3)
    same((page.answered(), page.bars()), ("1", taught))
    assert not page.all("#feed li.gone")


@test
def pictures_come_from_files_and_samples(page, server):
    page.open(server.url)
    page.find("#file").send_keys(os.path.join(ROOT, "models/samples/digit-7.png"))
    same(page.answered(), "7")
    page.clear()
    page.find("#file").send_keys(os.path.join(ROOT, "README.md"))
    page.until(lambda: "not a picture" in page.text("#state"))
    accessible(page)
    same(len(page.all("#samples button")), 10)
    for i, sample in enumerate(page.all("#samples button")):
        sample.click()
        same(page.answered(), str(i))
    # Dropped and pasted, as the browser's own events.
    for kind in ("drop", "paste"):
        page.clear()
        page.js("""
            const data = new DataTransfer();
            const kind = arguments[0];
            fetch('/page/fashion-9.png').then((a) => a.blob()).then((blob) => {
              data.items.add(new File([blob], 'a.png', {type: 'image/png'}));
              document.dispatchEvent(kind === 'drop'
                ? new DragEvent('drop', {dataTransfer: data, cancelable: true})
                : new ClipboardEvent('paste', {clipboardData: data}));
            });""", kind)
        page.answered()


@test
def each_model_is_asked_in_its_own_shape(page, server):
    page.open(server.url)
    boot = os.path.join(ROOT, "models/samples/ankle-boot.png")
    for name, says in (("fashion", "Ankle boot"), ("neuron", "Ankle boot"),
                       ("neuron-svm", "Ankle boot"), ("cifar10", None),
                       ("cifar10-deep", None), ("mnist", None)):
        page.find(f"#model option[value={name}]").click()
        page.until(lambda: page.text("#verdict") == "\u2013")
        page.until(lambda: page.js(
            "return document.querySelector('#model').value") == name)
        page.find("#file").send_keys(boot)
        said = page.answered()
        assert says in (None, said), (name, said)


@test
def keys_alone_do_it(page, server):
    page.open(server.url)
    page.js("document.querySelector('.skip').focus()")
    active = page.driver.switch_to.active_element
    active.send_keys(Keys.ENTER)
    page.js("document.querySelector('#draw').focus()")
    canvas = page.driver.switch_to.active_element
    canvas.send_keys(*[Keys.ARROW_UP] * 9, " ", *[Keys.ARROW_DOWN] * 18, " ")
    same(page.answered(), "1")
    for _ in range(40):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        if page.js("return document.activeElement.getAttribute('aria-label')"
                   " === 'It is a 1'"):
            break
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: page.text("#learned"))
    page.find("#draw").send_keys(Keys.DELETE)
    page.until(lambda: page.text("#verdict") == "\u2013")


@test
def a_server_that_stops_and_comes_back(page, server):
    page.open(server.url)
    server.stop()
    page.draw(DIGITS[3])
    page.until(lambda: page.state() == "offline")
    page.shot("offline")
    accessible(page)
    server.start()
    page.until(lambda: page.state() == "ready")
    same(page.answered(), "3")
    page.console()  # Chromium's own words about refused connections


@test
def a_key_is_asked_for_and_kept(page, server):
    lines, keys = zip(make_key("one", "predict"), make_key("two", "predict,train"))
    file = os.path.join(server.folder, "keys")
    with open(file, "w") as out:
        out.writelines(lines)
    os.chmod(file, 0o600)
    server.stop()
    server.arguments = ["--keys", file]
    server.start()
    page.driver.get(server.url)
    page.until(lambda: page.find("#key").is_displayed())
    same(page.state(), "key")
    page.shot("key")
    accessible(page)
    page.find("#key-value").send_keys(Keys.ESCAPE)
    page.until(lambda: not page.find("#key").is_displayed())
    page.find("#give-key").click()
    page.until(lambda: page.find("#key").is_displayed())
    page.find("#key-value").send_keys("wrong", Keys.ENTER)
    page.until(lambda: "not take that key" in page.text("#key-why"))
    accessible(page)
    page.find("#key-value").send_keys(keys[1], Keys.ENTER)
    page.until(lambda: page.state() == "ready" and page.text("#labels"))
    page.open(server.url)
    same(page.state(), "ready")
    page.draw(DIGITS[7])
    same(page.answered(), "7")
    page.find("#labels button:nth-child(8)").click()
    page.until(lambda: page.text("#learned"))

    # A key that may predict only: it says so where it was asked for more.
    page.js("sessionStorage.setItem('soma-key', arguments[0])", keys[0])
    page.find("#labels button:nth-child(8)").click()
    page.until(lambda: "train" in page.text("#learned"))
    accessible(page)
    page.console()  # Chromium's own words about 401 and 403


@test
def busy_slow_and_stopped(page, server):
    proxy = Proxy(server)
    try:
        page.open(proxy.url)
        busy = 503, {"Content-Type": "application/json", "Retry-After": "1"}, \
            b'{"error":"the queue is full","code":"busy"}'
        proxy.rule = lambda m, path, h: busy if "predict" in path else None
        page.draw(DIGITS[2])
        page.until(lambda: page.state() == "busy")
        page.shot("busy")
        accessible(page)
        proxy.rule = lambda m, path, h: None
        same(page.answered(), "2")
        same(page.state(), "ready")

        going = threading.Event()

        def hesitate(method, path, headers):
            if "predict" in path:
                going.wait(20)
        proxy.rule = hesitate
        page.draw(DIGITS[1])
        page.until(lambda: page.state() == "slow")
        accessible(page)
        going.set()
        page.until(lambda: page.state() == "ready")
        stopped = 503, {"Content-Type": "application/json"}, \
            b'{"error":"learning is stopped","code":"learning_stopped"}'
        proxy.rule = lambda m, path, h: stopped if "/train" in path else None
        page.find("#labels button").click()
        page.until(lambda: "learning is stopped" in page.text("#learned"))
        accessible(page)
        page.console()  # Chromium's own words about 503
    finally:
        proxy.close()


COLOURS = """
    const canvas = document.querySelector(arguments[0]);
    const copy = new OffscreenCanvas(canvas.width, canvas.height)
      .getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    const data = copy
      .getImageData(0, 0, canvas.width, canvas.height).data;
    let warm = 0, cold = 0;
    for (let i = 0; i < data.length; i += 4) {
      warm += data[i] > data[i + 2] + 20;
      cold += data[i + 2] > data[i] + 20;
    }
    return [warm, cold, data.join()];"""


@test
def inside_it_can_be_seen(page, server):
    page.open(server.url)
    page.draw(ODD)
    page.answered()
    page.js("document.querySelector('#inside').scrollIntoView()")
    page.until(lambda: len(page.all("#templates canvas")) == 100)
    page.until(lambda: "spoke for \u201c7\u201d" in page.text("#spoke-text"))
    for selector in ("#spoke", "#templates canvas"):
        warm, cold, _ = page.js(COLOURS, selector)
        assert warm > 5 and cold > 5, (selector, warm, cold)
    same(len(page.all("#layers canvas")), 2)
    assert page.all("#templates .lit")
    assert "hidden units" in page.text("#units"), page.text("#units")
    lit = page.js("return document.querySelectorAll('#templates .lit').length")

    # The templates change as it learns.
    before = page.js(COLOURS, "#templates .lit")
    page.find("#labels button:nth-child(2)").click()
    page.until(lambda: "spoke for \u201c1\u201d" in page.text("#spoke-text"))
    page.until(lambda: "moved them by" in page.text("#moved"))
    assert page.js(COLOURS, "#templates .lit") != before
    page.find("#clear").click()
    page.until(lambda: "Draw something" in page.text("#spoke-text"))
    assert lit and not page.all("#templates .lit")

    # Of a linear model, one for each answer; of colour pictures, in colour.
    for name, count in (("cifar10-linear", 10), ("neuron-svm", 1),
                        ("cifar10-deep", 100)):
        page.find(f"#model option[value={name}]").click()
        page.until(lambda: len(page.all("#templates canvas")) == count)


@test
def watching_is_live(page, server):
    page.open(server.url)
    page.js("document.querySelector('#watch').scrollIntoView()")
    page.until(lambda: page.text("#w-examples") == "0")
    page.until(lambda: "MB" in page.text("#w-memory"))
    assert page.find("#w-empty").is_displayed()
    pixels = [[0] * 28 for _ in range(28)]
    for label in (1, 1, 7):
        server.ask("/models/mnist/train", {"pixels": pixels, "label": label})
    page.until(lambda: page.text("#w-examples") == "3")
    page.until(lambda: page.find("#w-chart").is_displayed())
    same(len(page.all("#w-classes tr")), 2)
    same(len(page.all("#w-lines polyline")), 2)
    server.stop()
    page.until(lambda: page.state() == "offline")
    server.start()
    server.ask("/models/mnist/train", {"pixels": pixels, "label": 7})
    page.until(lambda: page.text("#w-examples") == "4")
    page.console()  # Chromium's own words about refused connections


@test
def nothing_is_without_name_or_contrast(page, server):
    page.open(server.url)
    page.draw(DIGITS[5])
    page.answered()
    page.find("#labels button:nth-child(6)").click()
    page.until(lambda: page.text("#learned"))
    page.js("document.querySelector('#watch').scrollIntoView()")
    page.until(lambda: page.text("#w-examples") == "1")
    for scheme in ("light", "dark"):
        for width in (390, 1280):
            page.look(width, 900, scheme)
            time.sleep(0.2)  # colours fade
            accessible(page)
            wide = page.js("return document.documentElement.scrollWidth")
            assert wide <= width, wide


@test
def nothing_jumps(page, server):
    page.open(server.url)
    page.js("""
        window.shift = 0;
        new PerformanceObserver((list) => {
          for (const e of list.getEntries()) {
            if (!e.hadRecentInput) window.shift += e.value;
          }
        }).observe({type: 'layout-shift', buffered: true});""")
    page.draw(DIGITS[8])
    page.answered()
    shift = page.js("return window.shift")
    assert shift < 0.01, shift


@test
def the_picture_of_the_readme(page, server):
    page.look(1280, 1336, "light")
    page.open(server.url)
    page.draw(ODD)
    page.answered()
    page.find("#labels button:nth-child(2)").click()
    page.until(lambda: page.text("#learned") and page.all("#feed li"))
    page.answered()
    page.js("document.activeElement.blur(); window.scrollTo(0, 0)")
    time.sleep(0.3)
    page.shot("readme")


@test
def screenshots(page, server):
    for scheme in ("light", "dark"):
        for name, width, height in (("phone", 390, 844), ("desktop", 1280, 900)):
            page.look(width, height, scheme)
            page.open(server.url)
            page.draw(ODD)
            page.answered()
            page.find("#labels button:nth-child(2)").click()
            page.until(lambda: page.text("#learned"))
            page.js("document.querySelector('#inside').scrollIntoView()")
            page.until(lambda: page.all("#templates .lit"))
            page.js("document.querySelector('#watch').scrollIntoView()")
            page.until(lambda: "MB" in page.text("#w-memory"))
            page.js("window.scrollTo(0, 0)")
            full = page.js("return document.documentElement.scrollHeight")
            page.shot(f"{name}-{scheme}")
            page.look(width, full, scheme)
            time.sleep(0.3)
            page.shot(f"{name}-{scheme}-whole")


def run(function):
    server, page = Server(), Page()
    try:
        function(page, server)
        messages = page.console()
        assert not messages, messages
        return True
    except Exception:
        traceback.print_exc()
        page.shot("failed-" + function.__name__)
        return False
    finally:
        page.close()
        server.close()


def main():
    wanted = sys.argv[1:]
    failed = 0
    chosen = [t for t in TESTS if not wanted or t.__name__ in wanted]
    for function in chosen:
        good = run(function)
        failed += not good
        print(("ok   " if good else "FAIL ") + function.__name__, flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
