"""Facts by hand, words from facts, and no number that the facts do not hold: over 1,000 samples."""

import http.server
import json
import random
import re
import threading

import numpy as np
import pytest

from dwplus.errors import InputError
from dwplus.pages.words import reference_of
from dwplus.taxonomy import CLASSES
from model.explain import explain, held, make_facts, template, unheld
from model.language import language_model


def draw(seed):
    """Facts of a made-up tile: any classes, any of the facts missing."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 10 ** rng.integers(1, 6), (9, 9)) * (rng.random((9, 9)) < rng.choice([0.05, 0.3, 1.0]))
    if rng.random() < 0.3:
        matrix = np.diag(np.diag(matrix))
    tile = {"tile_id": rng.choice(["b04_00017", "dw_-63.3512901800_-3.9093045532-20190812", "33TWN_120_7"]),
            "window": rng.choice(["2021-06-01_2021-09-01", "w0", ""]), "biome": int(rng.integers(1, 15)),
            "gap_hours": rng.choice([float("nan"), 0.0, float(rng.normal(0, 60))]),
            "lon": float(rng.uniform(-180, 180)), "lat": float(rng.uniform(-80, 80)),
            "s2_cloud": rng.choice([float("nan"), float(rng.uniform(0, 100)), 0.0]),
            "cloud_fraction": rng.choice([float("nan"), float(rng.random())])}
    empty = not matrix.sum()
    shares = rng.random(8).tolist()
    return make_facts(
        tile, matrix, entropy=float("nan") if empty else shares[0], confidence=float("nan") if empty else shares[1],
        hidden=None if rng.random() < 0.2 else {"s2": (shares[2], shares[3]), "s1": (shares[4], shares[5])},
        optical_shares=rng.random(4).tolist() if rng.random() < 0.5 else None,
        reliability=shares[6] if rng.random() < 0.5 else None, pixels=int(matrix.sum() * 1.2) + 1)


def test_no_explanation_states_a_number_that_the_facts_do_not_hold():
    stated = caught = 0
    for seed in range(1000):
        facts = json.loads(json.dumps(draw(seed)))
        said = explain(facts)
        assert said["source"] == "template" and unheld(said["text"], facts) == [], said["text"]
        # Any number of the text, changed, is caught.
        numbers = {float(v) for v in held(facts) if not isinstance(v, str)}
        places = [m for m in re.finditer(r"(?<![\w.,-])\d[\d,]*\.\d+(?![\w.])", said["text"])]
        stated += len(places)
        for match in random.Random(seed).sample(places, min(3, len(places))):
            other = float(match[0].replace(",", "")) + 0.1
            while round(other, 1) in numbers:
                other += 0.1
            changed = said["text"][:match.start()] + f"{other:.1f}" + said["text"][match.end():]
            assert unheld(changed, facts) == [f"{other:.1f}"]
            caught += 1
    assert stated > 10_000 and caught > 2000


FACTS = {"tile": {"id": "dw_-63.35_-3.9-20190812", "lon": -63.35}, "a": [12.5, 65536, 3], "biome_name": "x"}


@pytest.mark.parametrize("text", [
    "12.5 % of 65,536 pixels, 65536 in all, three classes.",
    "Tile dw_-63.35_-3.9-20190812 saw Sentinel-2 and S1, 12.50 %.",
    "At -63.35 degrees.", "Sentinel 1 (3 scenes).", "No number at all.", "(12.5)", "Range 3-12.5.", ""])
def test_numbers_that_are_held(text):
    assert unheld(text, FACTS) == []


@pytest.mark.parametrize(("text", "numbers"), [
    ("12 %", ["12"]), ("12.51 %", ["12.51"]), ("-12.5 %", ["-12.5"]), ("63.35 W", ["63.35"]), ("65,53", ["65", "53"]),
    ("0.125 of them", ["0.125"]), ("two classes", ["two"]), ("half of it", ["half"]), ("\u00bd of it", ["\u00bd"]),
    ("ninety-three", ["ninety"]), ("B11 and B8", ["11", "8"]), ("Sentinel-3a", []), ("Sentinel-5 saw", ["5"]),
    ("in 2019", ["2019"]), ("1.25e1 is 12.5", []), ("1.3e1", ["1.3e1"]), ("dw_-63.35_-3.9-20190813", None),
    ("65,536.5", ["65,536.5"]), ("\uff13\uff14", ["\uff13\uff14"]), (".5", [".5"]), ("S21", ["21"])])
def test_numbers_that_are_not_held(text, numbers):
    found = unheld(text, FACTS)
    assert found if numbers is None else found == numbers


def test_facts_by_hand():
    matrix = np.zeros((9, 9), int)
    matrix[1, 1], matrix[1, 2], matrix[4, 4], matrix[4, 1], matrix[0, 0] = 50, 10, 30, 5, 5
    facts = make_facts({"tile_id": "t7", "window": "w0", "biome": 4, "gap_hours": -7.26, "s2_cloud": 12.34, "lon": 1.0,
                        "lat": 2.0, "cloud_fraction": 0.456}, matrix, entropy=0.123456, confidence=0.9,
                       hidden={"s2": (0.5, 0.4), "s1": (0.1, 0.8)}, optical_shares=[0.6, 0.7], pixels=200)
    assert facts["scores"] == {"overall_accuracy": 85.0, "miou": round(100 * (50 / 65 + 30 / 35 + 1) / 3, 1),
                               "classes_present": 3}
    assert [c["name"] for c in facts["classes"]] == ["trees", "crops", "water", "grass"]
    assert facts["classes"][0] == {"name": "trees", "true": 60.0, "mapped": 55.0, "iou": 76.9, "recall": 83.3}
    assert facts["classes"][3] == {"name": "grass", "true": 0.0, "mapped": 10.0, "iou": None, "recall": None}
    assert facts["confusions"] == [{"true": "trees", "mapped": "grass", "share": 10.0},
                                   {"true": "crops", "mapped": "trees", "share": 5.0}]
    assert facts["scenes"] == {"gap_hours": 7.3, "first": "Sentinel-1", "cloud": 12.3, "tile_cloud": 45.6}
    assert facts["labelled"] == {"pixels": 100, "share": 50.0}
    assert facts["sensors"]["leans_on"] == "Sentinel-2" and facts["certainty"]["entropy"] == 12.3
    text = template(facts)
    for words in ("Sentinel-2 passed 7.3 hours after Sentinel-1.", "12.3 % cloud", "Of this tile 45.6 % is cloud.",
                  "Of 100 labelled pixels 85.0 %",
                  "trees mapped as grass (10.0 % of the labelled pixels) and crops mapped as trees (5.0 %",
                  "Mapped though no label says so: grass (10.0 %)", "without Sentinel-2 50.0 % of the pixels change",
                  "It leans on Sentinel-2", "is sure of itself", "60.0 %, 70.0 %"):
        assert words in text
    even = make_facts({"tile_id": "t", "biome": 1}, matrix, entropy=0.5, confidence=0.5,
                      hidden={"s2": (0.3, 0.4), "s1": (0.25, 0.8)})
    assert even["sensors"]["leans_on"] == "both" and even["scenes"]["gap_hours"] is None
    assert "is unsure of itself" in template(even) and "cloud" not in template(even)


@pytest.mark.parametrize(("sources", "said", "unsaid"), [
    (["dynamic-world-v1"], "agree with Dynamic World V1", "right"), (["annotations"], "are mapped right", "agree"),
    (["truth"], "are mapped right", "agree"), (["annotations", "dynamic-world-v1"], "agree with", "right")])
def test_right_and_wrong_are_said_against_truth_alone(sources, said, unsaid):
    matrix = np.diag([5, 0, 0, 0, 0, 0, 0, 0, 0])
    facts = make_facts({"tile_id": "t", "biome": 1}, matrix, entropy=0.5, confidence=0.5,
                       hidden={"s2": (0.3, 0.4), "s1": (0.25, 0.8)}, reference=reference_of(sources))
    text = template(facts)
    assert said in text and unsaid not in text and unheld(text, facts) == []
    assert ("mistake" in text) == (unsaid == "agree")
    del facts["reference"]  # facts of an earlier build
    assert "agree with the labels" in template(facts)


def test_a_tile_without_labels():
    facts = make_facts({"tile_id": "t", "biome": 99, "gap_hours": 0.0}, np.zeros((9, 9), int), entropy=float("nan"),
                       confidence=float("nan"))
    text = template(facts)
    assert "nothing can be said" in text and unheld(text, facts) == [] and "at the same time" in text
    assert facts["tile"]["biome_name"] == "unknown"


def test_a_model_that_invents_is_refused_and_the_template_speaks():
    facts = draw(3)
    right = f"It is {facts['scores']['overall_accuracy']} % right."
    assert explain(facts, lambda prompt: right) == {"text": right, "source": "model", "refused": []}
    prompts = []

    def inventor(prompt):
        prompts.append(prompt)
        return right if len(prompts) == 2 else "It is 123.45 % right."

    said = explain(facts, inventor)
    assert said["text"] == right and said["refused"] == [{"numbers": ["123.45"], "text": "It is 123.45 % right."}]
    assert "123.45" in prompts[1] and json.dumps(facts) in prompts[0]
    said = explain(facts, lambda prompt: "Nearly 123.45 %.", tries=3)
    assert said["source"] == "template" and len(said["refused"]) == 3 and said["text"] == template(facts)
    assert explain(facts, lambda prompt: "  ")["source"] == "template"


def test_a_llama_server():
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            body = json.dumps({"content": " Words. "} if len(asked) == 1 else {"error": "busy"}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        writer = language_model(url)
        assert explain(draw(1), writer)["text"] == "Words."
        path, body = asked[0]
        assert path == "/completion" and body["temperature"] == 0 and "Facts: {" in body["prompt"]
        with pytest.raises(InputError, match="gives no completion .*KeyError"):
            writer("more")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(InputError, match="start llama-server") as caught:
        writer("more")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match="holds no config.json"):
        language_model(str(tmp_path))


def test_a_tiny_model_made_on_the_spot(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    facts = draw(5)
    words = sorted(set(re.findall(r"\w+|[^\w\s]", json.dumps(facts) + template(facts)))) + ["<unk>", "<end>"]
    vocabulary = {w: i for i, w in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>",
                                         pad_token="<end>").save_pretrained(tmp_path)
    config = transformers.GPT2Config(vocab_size=len(words), n_positions=128, n_embd=16, n_layer=1, n_head=2,
                                     bos_token_id=len(words) - 1, eos_token_id=len(words) - 1)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    writer = language_model(str(tmp_path), "cpu", tokens=12)
    assert writer("Facts: 1") == writer("Facts: 1")
    said = explain(facts, writer)
    assert unheld(said["text"], facts) == [] and said["text"]
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded"):
        language_model(str(tmp_path), "cpu")


def test_every_class_has_a_word():
    matrix = np.ones((9, 9), int)
    text = template(make_facts({"tile_id": "t", "biome": 1}, matrix, entropy=0.2, confidence=0.5))
    assert all(name.replace("_", " ") in text for name in CLASSES)
