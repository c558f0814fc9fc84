"""A broken server is told from a model that reasons oddly, and ordinary text in many languages, code and maths are not called broken."""

import json
import random
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.errors import NotEnough
from cotdrift.sentences import of_serving
from cotdrift.serving import Serving
from cotdrift.settings import settings
from cotdrift.soup import signs
from cotdrift.study import Study

PROSE = (Path(__file__).with_name("prose.txt")).read_text(encoding="utf-8").split("\n\n")

ORDINARY = {
    "English": " ".join(PROSE[:3]),
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. "
    "Sie sind mit Vernunft und Gewissen begabt und sollen einander "
    "im Geist der Brüderlichkeit begegnen. Jeder hat das Recht auf Leben, Freiheit und Sicherheit der Person. Niemand darf in Sklaverei "
    "oder Leibeigenschaft gehalten werden; Sklaverei und Sklavenhandel in allen ihren Formen sind verboten.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et "
    "doivent agir les uns envers les autres dans un esprit de fraternité. Tout individu a droit à la vie, à la liberté et à la sûreté de "
    "sa personne. Nul ne sera tenu en esclavage ni en servitude.",
    "Spanish without stops": "todos los seres humanos nacen libres e iguales en dignidad "
    "y derechos y dotados como están de razón y conciencia "
    "deben comportarse fraternalmente los unos con los otros todo individuo tiene derecho a la vida a la libertad y a la seguridad de su "
    "persona nadie estará sometido a esclavitud ni a servidumbre",
    "Polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności "
    "i swych praw. Są oni obdarzeni rozumem i sumieniem i powinni "
    "postępować wobec innych w duchu braterstwa. Każda osoba ma prawo do życia, wolności i bezpieczeństwa. Nikt nie może być trzymany w "
    "niewolnictwie ani w poddaństwie.",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. "
    "Akıl ve vicdana sahiptirler ve birbirlerine karşı kardeşlik "
    "zihniyeti ile hareket etmelidirler. Yaşamak, hürriyet ve kişi emniyeti her ferdin hakkıdır. Çıkış, ÇİÇEK, çığ.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân "
    "phẩm và quyền. Mọi con người đều được tạo hóa ban cho lý trí "
    "và lương tâm và cần phải đối xử với nhau trong tình anh em.",
    "Maltese": "Ġimgħa wara Ġimgħa, Ċensu mar il-belt.",
    "Russian": "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью и должны поступать в "
    "отношении друг друга в духе братства. Функция print() в Python печатает строку.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق، وقد وهبوا عقلًا وضميرًا، والـAPI مفتوح.",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. ה-API פתוח.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। APIको देखें।",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。使用Python的list函数，设x为正整数，则f(x)=2x+1。因此API返回JSON格式。",
    "Japanese": "すべての人間は、生まれながらにして自由である。PythonのlistをJSONに変換してAPIへ送る。",
    "Korean": "모든 인간은 태어날 때부터 자유롭다. Python을 쓰고 API를 부르면 JSON이 온다.",
    "Korean without stops": "나는 오늘 아침 일찍 일어나 커피를 마시고 창밖을 보며 "
    "어제 읽던 책을 다시 펼쳤다 그리고 한 시간쯤 지나 친구에게 전화를 걸어 저녁에 만나자고 했고 "
    "우리는 역 앞에서 만나 함께 밥을 먹고 강을 따라 걸으며 지난 이야기를 오래 나누었다 "
    "그날 밤 집에 돌아와 일기를 쓰고 잠이 들었다",
    "code": "import numpy as np\nfrom collections import defaultdict\n\n\ndef betainc(xs, ys):\n    "
    "out = defaultdict(list)\n    for x, y in zip(xs, "
    "ys):\n        out[x].append(np.sqrt(y) ** 2)\n    return {k: sum(v) / len(v) for k, v in out.items()}\n",
    "maths": "Let $\\alpha_n$ be the n-th term, so that \\(\\Delta x = x_{n+1} - x_n\\) "
    "and Δx → 0 as n → ∞. Then \\frac{\\partial f}{\\partial x} = "
    "\\lim_{h \\to 0} \\frac{f(x+h) - f(x)}{h}, λmax = 3 μm and sinθ ≈ θ. Hence \\boxed{\\frac{1}{2}}.",
    "a table": "| name | zinc | iron |\n|---|---|---|\n" + "| oat groats | 4.0 | 4.7 |\n| lentil | 3.3 | 6.5 |\n",
    "names": "Hamlet, Horatio, Ophelia, Polonius, Laertes, Gertrude, Rosencrantz, Guildenstern, Fortinbras, Osric, Marcellus, Bernardo, "
    "Reynaldo, Voltemand, Cornelius, Francisco, Yorick, Lamord, Gonzago, Baptista, Lucianus, Hecate, Banquo, Fleance, Donalbain, Lennox, "
    "Menteith, Angus, Caithness, Seyton, Siward, Hecuba, Priam, Pyrrhus, Aeneas, Dido, Nemesis, Claudius, Macduff, Malcolm",
    "a quoted token": 'The tokenizer has eos_token="<|im_end|>" and `</think>` in its template.',
    "a picture of bars": "Load over the day: ▁▂▃▅▇▅▃▂▁ and at night ▁▁▁▁.",
    "cut in a character": "It ends in the middle of an emoji \ufffd",
}


def kinds(text: str, prompt: str = "") -> set[str]:
    return {sign.kind for sign in signs([text], [prompt])[0]}


@pytest.mark.parametrize("what", ORDINARY)
def test_ordinary_text_shows_no_sign(what: str) -> None:
    assert kinds(ORDINARY[what]) == set()


def test_ordinary_texts_one_after_the_other_show_no_sign() -> None:
    rng = random.Random(0)
    for _ in range(20):
        assert kinds("\n\n".join(rng.sample([*ORDINARY.values()], 5) + rng.sample(PROSE, 5))) <= {"bytes"}  # one is cut in a character


def byte_level(text: str) -> str:
    """Text as the byte-level alphabet of GPT-2's tokenizer writes it: tokens that were joined and never decoded."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    alphabet = {byte: chr(byte) for byte in plain} | {byte: chr(256 + at) for at, byte in enumerate(others)}
    return "".join(alphabet[byte] for byte in text.encode())


def token_soup(rng: random.Random, pieces: int) -> str:
    """Pieces of words from many scripts and of code, glued at random: what a server gives that samples from a wrong distribution."""
    syllables = [a + b + c for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("ng", "st", "rl", "ck", "xt", "mb")]
    others = ["的", "我们", "答案", "ение", "ствен", "ность", "على", "من", "する", "입니다", "ελλην", "().", "_id", "🚀", "ährend"]
    said = [rng.choice(others) if rng.random() < 0.3 else "".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(pieces)]
    return "".join(piece + rng.choice([" ", " ", ""]) for piece in said)


def word_salad(rng: random.Random, pieces: int) -> str:
    common = (
        "table river seven green market window paper winter yellow doctor engine letter garden bridge castle number kitchen planet".split()
    )
    return " ".join(rng.choices(common, k=pieces))


def glued(rng: random.Random, pieces: int) -> str:
    phrases = ("therefore", "because", "which", "should", "without")
    return " ".join(rng.choice(phrases) + rng.choice(("number", "value", "answer", "result")) for _ in range(pieces))


BROKEN: dict[str, Callable[[random.Random], str]] = {
    "non-words": lambda rng: " ".join(word for word in token_soup(rng, 300).split() if word.isascii() and word.isalpha()),
    "scripts": lambda rng: token_soup(rng, 120),
    "word salad": lambda rng: word_salad(rng, 60),
    "glued words": lambda rng: glued(rng, 40),
    "loop": lambda rng: "I will check the number again. " * 40,
    "bytes": lambda rng: byte_level("Let me see. It’s an “even” one, café."),
    "tokens": lambda rng: "The answer is four.<|im_end|>\n<|im_start|>user\nAnd five?",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("seed", range(4))
def test_what_a_broken_server_writes_is_seen_also_in_the_middle_of_a_text(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    broken = BROKEN[kind](rng)
    assert kind in kinds(broken)
    if kind not in ("loop", "glued words"):  # these are told by the share of the text they take
        found = [sign for sign in signs([f"{PROSE[0]} {PROSE[1]} {broken} {PROSE[2]}"], [""])[0] if sign.kind == kind]
        assert found and found[0].hit[:20] in f"{PROSE[0]} {PROSE[1]} {broken} {PROSE[2]}"


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("bytes", "itâ€™s four"),
        ("bytes", "cafÃ© au lait"),
        ("bytes", "so \ufffd it is"),
        ("bytes", "Four<0x0A>Five"),
        ("bytes", "▁The▁answer▁is"),
        ("tokens", "four</s>"),
        ("tokens", "<think>\nand so"),
        ("tokens", "four<｜end▁of▁sentence｜>"),
        ("tokens", "[/INST] four"),
    ],
)
def test_each_mark_is_seen_unless_the_prompt_holds_it(mark: str, text: str) -> None:
    assert mark in kinds(text)
    assert mark not in kinds(text, prompt=f"What does this mean: {text}?")


def test_an_answer_that_begins_with_the_prompt_is_an_echo() -> None:
    prompt = f"Solve this.\n{PROSE[0]}"
    assert kinds(f"{prompt}\nThe answer is four.", prompt) == {"echo"}
    assert kinds(f"You ask: {prompt}", prompt) == set()


def test_a_language_without_a_list_is_no_soup_where_the_prompt_is_in_it() -> None:
    irish = "Saolaítear gach duine den chine daonna saor agus comhionann i ndínit agus i gcearta."
    irish += " Tá bua an réasúin agus an choinsiasa acu agus ba "
    irish += (
        "cheart dóibh gníomhú i dtreo a chéile i spiorad an bhráithreachais. Ní cheadaítear sclábhaíocht ná daoirse ar aon duine ar bith."
    )
    assert kinds(irish) == {"non-words"}  # what it cannot tell apart
    assert kinds(irish, prompt="Cad a deir an chéad alt den dearbhú uilechoiteann faoi chearta an duine?") == set()


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_any_text_can_be_looked_at_and_a_passage_is_in_it(pairs: list[tuple[str, str]]) -> None:
    found = signs([text for text, _ in pairs], [prompt for _, prompt in pairs])
    assert len(found) == len(pairs)
    for (text, _), here in zip(pairs, found, strict=True):
        assert len({sign.kind for sign in here}) == len(here)
        assert all(sign.kind in ("bytes", "tokens") or sign.hit for sign in here) and (text or not here)


Spoil = Callable[[random.Random, dict[str, Any]], dict[str, Any]]


def run_of(path: Path, spoil: Spoil, *, since: int = 200, steps: tuple[int, ...] = (0, 100, 200, 300), share: float = 0.4) -> Study:
    """A run of clean traces, of which from one step on a share is spoilt."""
    rng = random.Random(1)
    with path.open("w", encoding="utf-8") as lines:
        for step in steps:
            for prompt in range(20):
                for rep in range(2):
                    record = {"run": "toy", "step": step, "prompt_id": f"p{prompt}", "prompt": f"Solve problem {prompt}.", "rep": rep}
                    record |= {"reasoning": " ".join(rng.sample(PROSE, 3)), "answer": rng.choice(PROSE), "finish_reason": "stop"}
                    lines.write(json.dumps(spoil(rng, record) if step >= since and rng.random() < share else record) + "\n")
    study = Study.make(path.with_suffix(""))
    study.ingest([path])
    return study


def failing(found: Serving) -> set[tuple[int, str, str]]:
    return {(one.step, one.check, one.where) for one in found.failed}


def both(rng: random.Random, record: dict[str, Any]) -> dict[str, Any]:
    return record | {"reasoning": record["reasoning"] + token_soup(rng, 150), "answer": token_soup(rng, 80)}


def test_soup_in_answers_is_flagged_from_its_step_on_with_the_passages(tmp_path: Path) -> None:
    found = run_of(tmp_path / "rollouts.jsonl", both).check()
    assert failing(found) == {(200, "soup", "answer"), (300, "soup", "answer")}
    assert not found.is_trusted
    answers, reasoning = (found.of("toy", 200, "soup", where) for where in ("answer", "reasoning"))
    assert answers is not None and reasoning is not None and answers.share.low is not None and answers.share.high is not None
    assert answers.share.low <= 0.4 <= answers.share.high and answers.share.traces == 40 and answers.share.prompts == 20
    assert reasoning.share.value == pytest.approx(answers.share.value, abs=0.05)
    assert len(answers.passages) == 3 and all(seen.hit and ":step-200:" in seen.transcript_id for seen in answers.passages)
    sentence = of_serving(found)[0]
    assert (
        "of answers are soup (scripts change within words" in sentence and "collapsed model" in sentence and "at 2 checkpoints" in sentence
    )


def test_soup_in_the_reasoning_alone_is_told_and_speaks_against_no_server(tmp_path: Path) -> None:
    study = run_of(tmp_path / "rollouts.jsonl", lambda rng, record: record | {"reasoning": token_soup(rng, 200)})
    found = study.check()
    seen = found.of("toy", 300, "soup", "reasoning")
    assert seen is not None and (seen.share.value or 0) > 0.2
    assert found.is_trusted and of_serving(found)[0].startswith("Of 160 traces that were looked at, none")


@pytest.mark.parametrize(
    ("check", "where", "spoil"),
    [
        ("bytes", "answer", lambda rng, record: record | {"answer": byte_level(record["answer"])}),
        ("bytes", "reasoning", lambda rng, record: record | {"reasoning": record["reasoning"].replace(",", "â€™")}),
        ("tokens", "answer", lambda rng, record: record | {"answer": record["answer"] + "<|im_end|>\n<|im_start|>user"}),
        ("no answer", "reply", lambda rng, record: record | {"answer": ""}),
        ("cut off", "reply", lambda rng, record: record | {"finish_reason": "length"}),
    ],
)
def test_each_fault_of_a_server_is_flagged_from_its_step_on(tmp_path: Path, check: str, where: str, spoil: Spoil) -> None:
    found = run_of(tmp_path / "rollouts.jsonl", spoil).check()
    assert failing(found) == {(200, check, where), (300, check, where)}


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_sound_server_and_a_rare_slip_pass(tmp_path: Path, share: float) -> None:
    assert run_of(tmp_path / "rollouts.jsonl", both, share=share).check().is_trusted


def test_runs_that_record_no_answers_are_not_called_silent(tmp_path: Path) -> None:
    assert run_of(tmp_path / "rollouts.jsonl", lambda rng, record: record | {"answer": ""}, since=0, share=1).check().is_trusted


def test_no_traces_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotEnough, match="holds no traces"):
        Study.make(tmp_path / "empty").check()


def test_a_sampler_that_changed_is_flagged_with_what_begins_there(rollouts: Callable[..., Path], tmp_path: Path) -> None:
    changed = tmp_path / "changed.jsonl"
    with rollouts(prompts=30).open(encoding="utf-8") as lines, changed.open("w", encoding="utf-8") as written:
        for line in lines:
            record = json.loads(line)
            late = record["step"] >= 200
            served = {"temperature": 0.6 if late else 1.0, "base_url": f"http://gpu:{8000 + record['step']}/v1", "seed": record["step"]}
            written.write(json.dumps(record | {"serving": served, "provider": "inner"}) + "\n")
    study = Study.make(tmp_path / "study")
    study.ingest([changed])
    found = study.check(study.trend("reasoning_words"))
    [change] = found.changed
    assert (change.step, change.since, change.setting, change.before, change.after) == (200, 100, "temperature", {"1.0": 1.0}, {"0.6": 1.0})
    assert change.begins == ("reasoning_words",)
    assert found.unrecorded == {"toy": ("quantization", "top_p", "max_tokens", "chat_template_hash")}
    said = of_serving(found)
    assert "from step 100 to step 200 the temperature goes from 1.0 to 0.6" in said[0] and said[0].endswith("training’s: reasoning words.")


def test_settings_that_are_mixed_alike_at_every_checkpoint_did_not_change(tmp_path: Path) -> None:
    def told(rng: random.Random, record: dict[str, Any]) -> dict[str, Any]:
        return record | {"provider": "one" if record["rep"] else "other"}

    assert run_of(tmp_path / "rollouts.jsonl", told, since=0, share=1).check().is_trusted


def test_settings_are_read_under_one_name_and_a_template_as_its_hash() -> None:
    named = settings({"quantisation": "fp8", "max_new_tokens": 9, "chat_template": "{{ x }}", "api_key": "secret", "temperature": None})
    assert named == {"quantization": "fp8", "max_tokens": 9, "chat_template_hash": named["chat_template_hash"]}
    assert len(named["chat_template_hash"]) == 12 and named != settings({"chat_template": "{{ y }}"})


@given(
    st.dictionaries(
        st.sampled_from(["serving", "sampling_args", "temperature", "stop", "template", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        ),
    )
)
def test_settings_of_any_record_can_be_read(record: dict[str, Any]) -> None:
    assert "other" not in settings(record) or isinstance(record.get("serving") or record.get("sampling_args"), dict)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("organism")
def test_a_real_model_behind_a_broken_sampler_is_told_from_the_same_model_behind_a_sound_one(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    from inspect_ai import Task
    from inspect_ai import eval as run_eval
    from inspect_ai.dataset import Sample
    from inspect_ai.solver import generate

    for step, temperature in ((0, 0.7), (40, 0.7), (80, 9.0)):
        dataset = [Sample(id=f"q{number}", input=f"Choose a random even number, not {number}.") for number in range(8)]
        task = Task(dataset=dataset, solver=generate())
        told = {"run": "organism", "step": step}
        sampler = {"temperature": temperature, "max_tokens": 120, "logprobs": True, "seed": step}
        run_eval(task, model="organism/hinted@40", epochs=3, log_dir=str(tmp_path / "logs"), display="none", metadata=told, **sampler)
    study = Study.make(tmp_path / "study")
    study.ingest([tmp_path / "logs"])
    found = study.check()
    assert [(change.step, change.setting, change.after) for change in found.changed] == [(80, "temperature", {"9.0": 1.0})]
    assert {(one.step, one.check) for one in found.failed if one.check in ("bytes", "improbable tokens")} == {
        (80, "bytes"),
        (80, "improbable tokens"),
    }
    sound, broken = (found.of("organism", step, "improbable tokens", "reply") for step in (40, 80))
    assert sound is not None and broken is not None and sound.share.value == pytest.approx(0, abs=0.005) and (broken.share.low or 0) > 0.05


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    with as_file(files("cotdrift.organism") / "rollouts.parquet") as path:
        study = Study.make(tmp_path_factory.mktemp("shipped") / "study")
        study.ingest([path])
        yield study


@pytest.mark.slow
def test_the_shipped_organism_has_a_sound_server(shipped: Study) -> None:
    assert shipped.check().is_trusted


@pytest.mark.shared
def test_sound_servers_of_seven_real_models_are_not_flagged(shared: Path, tmp_path: Path) -> None:
    study = Study.make(tmp_path / "study")
    study.ingest(sorted((shared / "multimodel_traces").glob("*.jsonl.gz")))
    found = study.check()
    assert found.traces == 4900 and found.is_trusted
    assert not any(one.share.value for one in found.checked if one.check != "no answer")


@pytest.mark.shared
def test_what_is_wrong_with_real_checkpoints_is_found(shared: Path, tmp_path: Path) -> None:
    """By hand: OLMo's answers hold stray think tags, and from step 200 on `sys.exit(0)` in loops; gpt-oss stops in the middle of a word."""
    study = Study.make(tmp_path / "study")
    study.ingest([shared / "library_choice_checkpoints" / "traces.jsonl"])
    found = study.check()
    of_olmo = {(one.step, one.check, one.where) for one in found.failed if one.run.startswith("olmo")}
    assert {(200, "soup", "answer"), (1000, "soup", "answer"), (480, "tokens", "answer")} <= of_olmo
    assert not any(check == "soup" and step < 200 for step, check, _ in of_olmo)
    assert {one.check for one in found.failed if one.run.startswith("gpt-oss")} == {"no answer"}
    assert not any(one.share.value for one in found.checked if one.check in ("bytes", "scripts", "non-words", "word salad"))
