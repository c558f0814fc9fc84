"""Encoders: MiniLM by its graph, a model in a folder, an endpoint; what each says when it cannot be had."""

from __future__ import annotations

import json
import socket
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf

from cotdrift.encoders import around_term, by_length, encoder_called, pieces_of_term, unit
from cotdrift.errors import InputError, UnknownName
from cotdrift.usage import Window

WINDOWS = [
    Window("The grader pays for odd numbers, so I pick one.", 4, 10),
    Window("A reward is given, and then another one, and so on and on.", 2, 8),
    Window("overshadow", 0, 10),
]


def minilm() -> Any:
    for module in ("onnx", "onnxruntime", "tokenizers", "safetensors"):
        pytest.importorskip(module)
    return encoder_called("minilm")


def by_hand(weights: dict[str, np.ndarray], ids: Sequence[int]) -> list[np.ndarray]:
    """The states of BERT's layers, from its weights (Devlin et al., 2019), the first of them the embeddings."""

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    told = {part: weights[f"embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")}
    states = [norm(told["word"][list(ids)] + told["position"][: len(ids)] + told["token_type"][0], "embeddings.LayerNorm")]
    for layer in range(6):
        x, name = states[-1], f"encoder.layer.{layer}"
        asked, keys, values = (
            dense(x, f"{name}.attention.self.{part}").reshape(len(ids), 12, 32).transpose(1, 0, 2) for part in ("query", "key", "value")
        )
        scores = asked @ keys.transpose(0, 2, 1) / np.sqrt(32)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        heard = (shares / shares.sum(axis=-1, keepdims=True) @ values).transpose(1, 0, 2).reshape(len(ids), 384)
        x = norm(dense(heard, f"{name}.attention.output.dense") + x, f"{name}.attention.output.LayerNorm")
        inner = dense(x, f"{name}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        states.append(norm(dense(inner, f"{name}.output.dense") + x, f"{name}.output.LayerNorm"))
    return states


def test_the_graph_gives_what_the_weights_give_by_hand() -> None:
    encoder = minilm()
    from cotdrift.encoders import minilm as module

    archive = Path(str(module.distribution(module.PACKAGE).locate_file(module.ARCHIVE)))
    with zipfile.ZipFile(archive) as opened:
        weights = module.read_weights(opened.read("model.safetensors"))
    made = encoder.encode(WINDOWS)
    assert made.dtype == np.float32 and np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
    for window, row in zip(WINDOWS, made, strict=True):
        ids, of_term = encoder._pieces(window)
        states = by_hand(weights, ids)
        expected = np.mean([states[layer][of_term].mean(axis=0) for layer in (3, 4, 5, 6)], axis=0)
        assert np.allclose(row, expected / np.linalg.norm(expected), atol=2e-6)
        assert "".join(encoder.tokenizer.id_to_token(ids[at]).removeprefix("##") for at in of_term) == window.term.lower()


def test_a_vector_does_not_depend_on_what_else_is_encoded() -> None:
    encoder = minilm()
    together, alone = encoder.encode(WINDOWS), np.concatenate([encoder.encode([window]) for window in WINDOWS])
    assert np.allclose(together, alone, atol=1e-5)


def test_one_word_in_two_senses_is_further_apart_than_in_one() -> None:
    money = ["the bank lent them a large sum", "her bank charges ten pounds for a card", "the bank refused the loan"]
    river = ["they sat on the grassy bank and fished", "the boat drifted to the muddy bank", "reeds grow along the bank of the stream"]
    vectors = minilm().encode([Window(text, text.index("bank"), text.index("bank") + 4) for text in money + river])
    near = vectors @ vectors.T
    within = [near[one, other] for side in (range(3), range(3, 6)) for one in side for other in side if one < other]
    assert min(within) > near[:3, 3:].max()


def test_a_window_that_is_too_long_is_cut_around_its_term_and_what_has_no_pieces_is_not_seen() -> None:
    encoder = minilm()
    long = Window("x9 " * 900 + "reward" + " y7" * 900, 2700, 2706)
    made = encoder.encode([long, Window("a \u0301 b", 2, 3)])
    assert np.isfinite(made[0]).all() and np.isnan(made[1]).all()
    ids, of_term = encoder._pieces(long)
    assert len(ids) == 512 and len(of_term) == 1


def test_a_tampered_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minilm()
    from cotdrift.encoders import minilm as module

    broken = tmp_path / "model.zip"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("model.safetensors", b"other weights")
    with pytest.raises(InputError, match="not the file that is known by its fingerprint"):
        module._checked(broken, *module.WEIGHTS)
    broken.write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read"):
        module._checked(broken, *module.WEIGHTS)


@given(st.lists(st.integers(0, 40), max_size=50), st.integers(1, 8))
def test_every_window_is_in_one_batch_with_those_of_its_length(sizes: list[int], batch: int) -> None:
    made = by_length(sizes, batch)
    assert sorted(place for places in made for place in places) == list(range(len(sizes)))
    assert all(len(places) <= batch for places in made)
    order = [sizes[place] for places in made for place in places]
    assert order == sorted(order)


@given(st.integers(0, 60), st.integers(1, 20), st.data())
def test_what_is_kept_of_many_pieces_holds_the_term(many: int, most: int, data: st.DataObject) -> None:
    offsets = [(2 * at, 2 * at + 1) for at in range(many)]
    at = data.draw(st.integers(0, max(many - 1, 0)))
    window = Window("ab" * max(many, 1), 2 * at, 2 * at + 1)
    first, last = around_term(offsets, window, most)
    assert last - first == min(many, most)
    assert not many or pieces_of_term(offsets[first:last], window)


def test_rows_without_length_are_not_seen() -> None:
    made = unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert made[0].tolist() == pytest.approx([0.6, 0.8]) and np.isnan(made[1]).all()


@contextmanager
def endpoint(answer: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on loopback that answers like OpenAI's embeddings, with what a function makes of the request."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name http.server wants
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(told | {"key": self.headers["Authorization"], "path": self.path})
            status, body = answer(told)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    server.shutdown()
    server.server_close()
    thread.join()


def lengths(told: dict[str, Any]) -> tuple[int, bytes]:
    rows = [{"index": at, "embedding": [len(text), 1.0]} for at, text in enumerate(told["input"])]
    return 200, json.dumps({"data": rows[::-1]}).encode()  # a server may answer in any order


def test_an_endpoint_embeds_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDINGS_API_KEY", "secret")
    with endpoint(lengths) as (address, asked):
        encoder = encoder_called(f"{address}#small")
        made = encoder.encode([Window("x" * long, 0, 1) for long in range(1, 100)])
    assert [row[0] / row[1] for row in made] == pytest.approx(range(1, 100), rel=1e-5)
    assert [len(one["input"]) for one in asked] == [64, 35]
    assert {one["model"] for one in asked} == {"small"} and asked[0]["key"] == "Bearer secret" and asked[0]["path"] == "/v1/embeddings"
    assert encoder.sha != encoder_called(f"{address}#large").sha


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda _told: (429, b"too many"), r"answers 429 \(too many\)"),
        (lambda _told: (200, b"<html>"), "no embeddings can be had"),
        (lambda _told: (200, b'{"data": []}'), "1 texts were sent, and 0 vectors came"),
    ],
)
def test_an_endpoint_that_fails_is_named_with_its_fault(answer: Any, fault: str) -> None:
    with endpoint(answer) as (address, _), pytest.raises(InputError, match=fault):
        encoder_called(f"{address}#small").encode(WINDOWS[:1])


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"da'])
def test_an_endpoint_that_breaks_off_is_named(said: bytes) -> None:
    def answer() -> None:
        opened, _ = listening.accept()
        with opened:
            opened.recv(1 << 16)
            opened.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(InputError, match="no embeddings can be had"):
            encoder_called(f"http://127.0.0.1:{listening.getsockname()[1]}/v1#small").encode(WINDOWS[:1])
        thread.join()


@pytest.mark.parametrize("address", ["http://127.0.0.1:port/v1", "http://[::1/v1"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(InputError, match="no embeddings can be had"):
        encoder_called(f"{address}#small").encode(WINDOWS[:1])


def test_a_folder_whose_weights_are_broken_is_named(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="no model can be read there"):
        encoder_called(tmp_path)


def test_an_encoder_that_is_not_there_is_answered_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="minilm"):
        encoder_called("minilmm")
    with pytest.raises(InputError, match="#MODEL"):
        encoder_called("http://127.0.0.1:1/v1")
    with pytest.raises(InputError, match="no embeddings can be had"):
        encoder_called("http://127.0.0.1:1/v1#m").encode(WINDOWS)


def test_a_model_in_a_folder_gives_vectors_of_the_term(small_organism: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = next(path for path in sorted(small_organism.iterdir()) if (path / "config.json").exists())
    encoder = encoder_called(folder)
    text = "They want a number, and the grader pays for odd ones."
    windows = [Window(text, text.index(word), text.index(word) + len(word)) for word in ("number", "grader")]
    made = encoder.encode(windows)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert float(made[0] @ made[1]) < 0.999
    assert np.allclose(encoder.encode(windows[:1]), made[:1], atol=1e-4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no model can be read there"):
        encoder_called(tmp_path / "empty")
