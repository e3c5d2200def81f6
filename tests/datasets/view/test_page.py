"""The page of `robolearn dataset view` in a real browser."""

import contextlib
import importlib.util
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from two_arms import record as record_two_arms

from robolearn.core.clock import VirtualClock
from robolearn.core.feature import Feature, features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.view.server import ViewServer
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

pytest.importorskip("websockets", reason="drives the browser with the package websockets")
_spec = importlib.util.spec_from_file_location("chromium", Path(__file__).with_name("chromium.py"))
chromium = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(chromium)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="needs chromium: apt-get install chromium"),
]

CAMERAS = ("observation.images.front", "observation.images.wrist")
HEIGHT, WIDTH, STEPS = 48, 64, 30
TASKS = ("pick the cup", "open the drawer", "pick the plate")


def picture(camera, step):
    """A flat colour that tells camera and step, which JPEG keeps."""
    return np.full((HEIGHT, WIDTH, 3), (8 * step, 200 if camera == CAMERAS[0] else 50, 120), np.uint8)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    tab = chromium.Browser(tmp_path_factory.mktemp("chromium"))
    yield tab
    tab.close()


@pytest.fixture
def path(tmp_path):
    """Three episodes of 3 s with two cameras; late ticks in the second."""
    items = [Feature(name, (HEIGHT, WIDTH, 3), "uint8", "image") for name in CAMERAS]
    items += [Feature("observation.state", (2,), names=("x", "y"), unit="m"), Feature("action", (2,), kind="action")]
    with DatasetWriter.create(tmp_path / "page.zarr", features(items), fps=10) as writer:
        for index, task in enumerate(TASKS):
            writer.start_episode()
            for k in range(STEPS):
                low_dim = {"observation.state": np.float32([k, -k]), "action": np.float32([k / 10, index])}
                writer.append(k / 10, low_dim | {name: picture(name, k) for name in CAMERAS})
            writer.commit({"task": task, "success": index == 0, "late_ticks": int(index == 1)})
    return tmp_path / "page.zarr"


@contextlib.contextmanager
def opened(browser, path, cameras):
    """The page of a dataset, its first episode open; fails on any message of the console."""
    server = ViewServer(path)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    browser.problems.clear()
    browser.prefer("light")
    browser.navigate("about:blank")
    browser.navigate(server.url)
    browser.url = server.url
    browser.wait_for(f"document.querySelectorAll('#cameras canvas[data-row]').length == {cameras}")
    browser.wait_for("document.getElementById('timing').textContent")
    yield browser
    browser.navigate("about:blank")
    server.shutdown()
    server.server_close()
    assert browser.problems == []


@pytest.fixture
def page(browser, path):
    with opened(browser, path, cameras=2) as tab:
        yield tab


def rows(page):
    return page.evaluate("[...document.querySelectorAll('.row b')].map(b => b.textContent)")


def shown_rows(page):
    return page.evaluate("[...document.querySelectorAll('#cameras canvas')].map(c => Number(c.dataset.row))")


def pixels(page, camera):
    """`(H, W, 3)`: what the canvas of a camera shows."""
    found = page.evaluate(
        f"(() => {{ const c = document.querySelector('canvas[data-camera={json.dumps(camera)}]');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; })()"
    )
    return np.array(found, np.uint8).reshape(HEIGHT, WIDTH, 4)[..., :3]


def assert_cameras_show(page, path, step):
    dataset = Dataset(path)
    for camera in CAMERAS:
        expected = dataset.image(camera, step).astype(int)
        assert np.abs(pixels(page, camera).astype(int) - expected).max() <= 3, camera


def test_the_list_shows_every_episode_and_filters_them(page):
    assert rows(page) == ["#0", "#1", "#2"]
    page.click("#search")
    page.type("pick")
    page.wait_for("document.getElementById('count').textContent == '2 of 3 episodes'")
    assert rows(page) == ["#0", "#2"]
    page.evaluate("document.getElementById('success').value = 'false'")
    page.evaluate("document.getElementById('success').dispatchEvent(new Event('input'))")
    assert rows(page) == ["#2"]
    page.evaluate("(() => { for (const id of ['search', 'success']) document.getElementById(id).value = ''; })()")
    page.click("#drops")
    assert rows(page) == ["#1"]


def test_the_first_frame_is_the_recorded_one(page, path):
    assert_cameras_show(page, path, 0)


def test_playing_moves_all_cameras_together(page, path):
    page.evaluate("document.getElementById('speed').value = '4'")
    page.evaluate(
        "(() => { window.seen = []; const watch = () => { const r = [...document.querySelectorAll('#cameras canvas')]"
        ".map(c => c.dataset.row); seen.push(r.join()); requestAnimationFrame(watch); }; watch(); })()"
    )
    page.key(" ")
    page.wait_for(f"document.querySelector('#cameras canvas').dataset.row == {STEPS - 1}")
    seen = [tuple(map(int, pair.split(","))) for pair in page.evaluate("seen")]
    assert all(front == wrist for front, wrist in seen)
    assert len(set(seen)) > 5 and seen == sorted(seen)
    assert_cameras_show(page, path, STEPS - 1)
    page.wait_for("document.getElementById('play').textContent == '▶'")


def test_scrubbing_moves_cameras_and_plots_to_one_time(page, path):
    page.click("#scrubber", x=0.52)
    page.wait_for("document.querySelector('#cameras canvas').dataset.row == 15")
    assert shown_rows(page) == [15, 15]
    assert_cameras_show(page, path, 15)
    times = page.evaluate("[...document.querySelectorAll('.plot canvas')].map(c => Number(c.dataset.t))")
    assert len(times) == 2 and times[0] == times[1] == pytest.approx(0.52 * 2.9, abs=0.02)
    page.wait_for("document.querySelector('.chip').textContent == 'x 15'")
    page.key("ArrowRight")
    page.wait_for("document.querySelector('#cameras canvas').dataset.row == 16")
    assert shown_rows(page) == [16, 16]


def test_a_click_on_a_plot_goes_there_and_a_drag_looks_closer(page):
    box = page.evaluate("document.querySelector('.plot canvas').getBoundingClientRect().toJSON()")
    left, top, width = box["left"], box["top"], box["width"]

    def mouse(kind, share, buttons):
        x = left + 52 + share * (width - 52)
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=top + 40, button="left", buttons=buttons, clickCount=1)

    mouse("mousePressed", 2 / 2.9 + 0.01, 1)
    mouse("mouseReleased", 2 / 2.9 + 0.01, 0)
    page.wait_for("document.querySelector('#cameras canvas').dataset.row == 20")
    mouse("mousePressed", 0.25, 1)
    mouse("mouseMoved", 0.75, 1)
    mouse("mouseReleased", 0.75, 0)
    page.wait_for("!document.getElementById('unzoom').hidden")
    page.key("z")
    page.wait_for("document.getElementById('unzoom').hidden")


def test_an_edit_is_in_the_journal_and_there_after_a_reload(page, path):
    page.click("#results button[data-success=false]")
    page.wait_for("document.getElementById('saved').textContent == 'saved ✓'")
    page.click("#edit-notes")
    page.type("slipped at the rim")
    assert page.evaluate("document.getElementById('saved').textContent") == "not saved yet"
    page.key("Enter")
    page.wait_for("document.getElementById('saved').textContent == 'saved ✓'")
    page.click("#new-mask input")
    page.type("again")
    page.click("#new-mask button")
    page.wait_for("document.querySelector('input[data-mask=again]')?.checked")

    lines = [json.loads(line[9:]) for line in (path / "meta/edits.jsonl").read_text().splitlines()]
    assert [line.get("labels") or line["mask"] for line in lines] == [
        {"success": False}, {"notes": "slipped at the rim"}, "again",
    ]  # fmt: skip
    record = Dataset(path).episodes[0]
    assert (record["success"], record["notes"]) == (False, "slipped at the rim")

    page.navigate("about:blank")
    page.navigate(page.url)
    page.wait_for("document.getElementById('state')?.textContent == 'failure'")
    page.wait_for("document.querySelector('input[data-mask=again]')?.checked")
    assert page.evaluate("document.getElementById('edit-notes').value") == "slipped at the rim"
    assert "slipped at the rim" in page.evaluate("document.getElementById('history').textContent")


def test_keys_change_the_episode_and_label_it(page, path):
    page.key("j")
    page.wait_for("document.getElementById('title').textContent == 'Episode 1'")
    page.key("s")
    page.wait_for("document.getElementById('saved').textContent == 'saved ✓'")
    assert Dataset(path).episodes[1]["success"] is True
    page.wait_for("document.querySelector('.row.on .dot').classList.contains('yes')")


def test_a_frame_that_is_damaged_says_so(page, path):
    Dataset(path).image_file(CAMERAS[0], 29).write_bytes(b"nothing")
    page.key("End")
    page.wait_for("document.querySelector('#cameras figcaption.bad')?.textContent.includes('29.0.0.0')")
    assert len(page.problems) == 1 and "404" in page.problems.pop()  # the browser notes the answer by itself


@pytest.fixture
def streams(tmp_path):
    """Two seconds: a state at 100 Hz with one peak, a camera at 5 Hz that misses two frames, events; grid at 10 Hz."""
    items = [
        Feature("observation.state", (1,), rate_hz=100),
        Feature(CAMERAS[0], (HEIGHT, WIDTH, 3), "uint8", "image", rate_hz=5),
        Feature("button", (1,), "int64", "event"),
    ]
    clock = VirtualClock()
    with DatasetWriter.create(tmp_path / "streams.zarr", features(items), 10, recorded="streams") as writer:
        recorder = StreamRecorder(writer, clock)
        recorder.start_episode()
        samples = [(k / 100, items[0].name, k) for k in range(200)] + [(0.7, "button", 1)]
        samples += [(k / 5 + 0.001, CAMERAS[0], k) for k in range(10) if k not in (4, 5)]
        for time_s, name, k in sorted(samples):
            clock.sleep_until(time_s)
            value = picture(name, k) if name == CAMERAS[0] else np.array([9 * (k == 123)])
            recorder.add(name, value, time_s, None, None if name == "button" else k)
        recorder.commit({"task": "press"})
    return tmp_path / "streams.zarr"


def test_streams_are_shown_at_their_own_rate_with_their_losses(browser, streams):
    with opened(browser, streams, cameras=1) as page:
        page.wait_for("document.querySelector('.chip').textContent")
        assert "dropped 2" in page.evaluate("document.getElementById('timing').textContent")
        assert "received 8 of 10" in page.evaluate("document.getElementById('timing').textContent")
        page.click("#scrubber", x=0.5)
        page.wait_for("document.querySelector('#cameras canvas').dataset.row == 3")  # still the last before the loss
        stream = Dataset(streams).stream(CAMERAS[0])
        assert np.abs(pixels(page, CAMERAS[0]).astype(int) - stream.image(3)).max() <= 3
        names = page.evaluate("[...document.querySelectorAll('.plot canvas')].map(c => c.dataset.plot)")
        assert names == ["observation.state", "button"]


def colours_on(page, view):
    """How many pixels of the canvas of a view are of the colour of each arm."""
    return page.evaluate(
        "(() => { const c = document.querySelector('canvas[data-view=" + view + "]');"
        "const copy = Object.assign(document.createElement('canvas'), {width: c.width, height: c.height});"
        "const seen = copy.getContext('2d', {willReadFrequently: true}); seen.drawImage(c, 0, 0);"
        "const d = seen.getImageData(0, 0, c.width, c.height).data;"
        "return [...document.querySelectorAll('#paths-legend i')].map((i) => {"
        "const [r, g, b] = getComputedStyle(i).backgroundColor.match(/\\d+/g).map(Number); let n = 0;"
        "for (let k = 0; k < d.length; k += 4) n += d[k] === r && d[k + 1] === g && d[k + 2] === b && d[k + 3] === 255;"
        "return n; }); })()"
    )


def test_the_tools_of_two_arms_are_drawn_in_two_colours_and_move_with_time(browser, tmp_path):
    with opened(browser, record_two_arms(tmp_path / "two.zarr"), cameras=0) as page:
        page.wait_for("!document.getElementById('paths').hidden")
        assert page.evaluate("document.getElementById('paths-legend').textContent").startswith(
            "left (panda)right (ur5e) · frame world, in m"
        )
        first = page.wait_for("Number(document.querySelector('canvas[data-view=above]').dataset.row) === 0") and {
            view: colours_on(page, view) for view in ("above", "side")
        }
        page.click("#scrubber", x=0.99)
        page.wait_for(f"Number(document.querySelector('canvas[data-view=above]').dataset.row) > {STEPS} / 2")
        for view in ("above", "side"):
            assert all(now > before > 0 for now, before in zip(colours_on(page, view), first[view], strict=True))


def test_without_a_path_there_is_no_picture_of_one(page):
    assert page.evaluate("document.getElementById('paths').hidden")


def test_dark_and_light_follow_the_system(page):
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.prefer("dark")
    page.wait_for("document.documentElement.dataset.theme == 'dark'")


def test_an_empty_dataset_is_explained(browser, make_dataset):
    server = ViewServer(make_dataset())
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    browser.problems.clear()
    browser.navigate(server.url)
    browser.wait_for("document.getElementById('empty')?.textContent.startsWith('This dataset has no episodes yet')")
    browser.navigate("about:blank")
    server.shutdown()
    server.server_close()
    assert browser.problems == []
