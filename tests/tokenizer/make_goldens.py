"""Trains small tokenizers in the styles of well-known models and writes goldens/.

    python make_goldens.py        (needs `tokenizers`; the files here are of 0.22.1)

goldens/STYLE.tokenizer.json, and goldens/STYLE.jsonl with one case a line: the text, its ids
without special tokens and, in the first cases, with them (`special`), and the ids' text without
(`decoded`, left out where it is the text) and with skip_special_tokens (`skipped`, left out where
it is the same). A rerun gives the same files but for `words`: with a prefix the trainer breaks ties
between merges at random.
"""

import collections
import json
import pathlib
import random

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

import random_text

HERE = pathlib.Path(__file__).parent
SEED = 20240607
VOCAB_SIZE = 900
NUM_CASES = 240
NUM_SPECIAL_CASES = 10
MAX_TEXT = 120

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
            r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def corpus() -> list[str]:
    rng = random.Random(SEED)
    lines = []
    with open(HERE / "../../models/tickets-5m/calibration.jsonl", encoding="utf-8") as file:
        for line, _ in zip(file, range(1500)):
            lines.append(str(next(v for v in json.loads(line).values() if isinstance(v, str))))
    lines += [random_text.random_text(rng, []) for _ in range(1500)]
    return lines


def common_chars(lines: list[str], count: int) -> dict:
    """The trainer's alphabet, chosen here since it breaks ties between characters at random."""
    counts = collections.Counter("".join(lines))
    chars = sorted(counts, key=lambda char: (-counts[char], char))[:count]
    return {"initial_alphabet": chars, "limit_alphabet": len(chars)}


def byte_level(pre_tokenizer, normalizer=None, **model_options) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**model_options))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def split_then_bytes(*patterns: str) -> pre_tokenizers.PreTokenizer:
    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    return pre_tokenizers.Sequence(
        splits + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3() -> Tokenizer:
    tokenizer = byte_level(split_then_bytes(LLAMA3), ignore_merges=True)
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|begin_of_text|> $A",
                                      special_tokens=[("<|begin_of_text|>", bos)])])
    return tokenizer


def qwen2() -> Tokenizer:
    tokenizer = byte_level(split_then_bytes(QWEN2), normalizers.NFC())
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False),
                          AddedToken("</tool_call>", normalized=False)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def smollm() -> Tokenizer:
    pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer = byte_level(pre_tokenizer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<repo_name>"])
    return tokenizer


def deepseek() -> Tokenizer:
    tokenizer = byte_level(split_then_bytes(r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK))
    tokenizer.add_special_tokens(["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])
    return tokenizer


def roberta() -> Tokenizer:
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.add_special_tokens(["<s>", "</s>", AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")))
    return tokenizer


def sentence_piece(normalizer, pre_tokenizer, decoder) -> Tokenizer:
    """In the manner of a converted SentencePiece model: trained on marked words, byte fallback."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    lines = [line.replace(" ", "▁") for line in corpus()]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, show_progress=False, min_frequency=3,
                                  special_tokens=["<unk>", "<s>", "</s>"] + bytes_,
                                  **common_chars(lines, 120))
    trained.train_from_iterator(lines, trainer)
    model = json.loads(trained.to_str())["model"]
    tokenizer = Tokenizer(models.BPE(
        vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]], unk_token="<unk>",
        byte_fallback=True, fuse_unk=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A",
                                                             special_tokens=[("<s>", 1)])
    return tokenizer


def space_decoder(*more) -> decoders.Decoder:
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                              decoders.Fuse(), *more])


def llama2() -> Tokenizer:
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer = sentence_piece(normalizer, None, space_decoder(decoders.Strip(" ", 1, 0)))
    tokenizer.add_special_tokens([AddedToken(t, normalized=True) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken("<pad>", normalized=False)])
    return tokenizer


def gemma() -> Tokenizer:
    tokenizer = sentence_piece(normalizers.Replace(" ", "▁"),
                               pre_tokenizers.Split(" ", "merged_with_previous"), space_decoder())
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<start_of_turn>"])
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("\t\t", normalized=False)])
    return tokenizer


def mistral() -> Tokenizer:
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer = sentence_piece(None, metaspace, space_decoder(decoders.Strip(" ", 1, 0)))
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    return tokenizer


def metaspace_first() -> Tokenizer:
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    tokenizer = sentence_piece(None, metaspace, decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")]))
    tokenizer.add_special_tokens(["<unk>", AddedToken("<s>", lstrip=True),
                                  AddedToken("</s>", rstrip=True),
                                  AddedToken("<sep>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken("word", single_word=True, normalized=False),
                          AddedToken("the", single_word=True, lstrip=True)])
    return tokenizer


def words() -> Tokenizer:
    """The remaining components: a lower-casing word tokenizer with prefixes and suffixes."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##",
                                     end_of_word_suffix="</w>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Strip(), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), normalizers.Replace(Regex(r"\s{2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"[\[\]]+"), "merged_with_next"), pre_tokenizers.Whitespace(),
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits()])
    lines = [tokenizer.normalizer.normalize_str(line) for line in corpus()]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, show_progress=False,
                                  special_tokens=["[UNK]"], continuing_subword_prefix="##",
                                  end_of_word_suffix="</w>", **common_chars(lines, 150))
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    tokenizer.add_tokens([AddedToken("Straße"), AddedToken("NAÏVE", single_word=True)])
    tokenizer.decoder = decoders.BPEDecoder()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]")))
    return tokenizer


STYLES = [llama3, qwen2, smollm, deepseek, roberta, llama2, gemma, mistral, metaspace_first, words]


def added_contents(tokenizer: Tokenizer) -> list[str]:
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()]


def case(tokenizer: Tokenizer, text: str, special: bool) -> dict:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    skipped = tokenizer.decode(ids, skip_special_tokens=True)
    result = {"text": text, "ids": ids}
    if special:
        result["special"] = tokenizer.encode(text).ids
    if decoded != text:
        result["decoded"] = decoded
    if skipped != decoded:
        result["skipped"] = skipped
    return result


def write_cases(name: str, tokenizer: Tokenizer) -> None:
    rng = random.Random(SEED + 1)
    tokens = added_contents(tokenizer)
    with open(HERE / "goldens" / f"{name}.jsonl", "w", encoding="utf-8", newline="\n") as file:
        for i in range(NUM_CASES):
            text = random_text.random_text(rng, tokens)[:MAX_TEXT]
            row = case(tokenizer, text, special=i < NUM_SPECIAL_CASES)
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def main() -> None:
    (HERE / "goldens").mkdir(exist_ok=True)
    for style in STYLES:
        name, tokenizer = style.__name__, style()
        text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
        (HERE / "goldens" / f"{name}.tokenizer.json").write_text(text + "\n", encoding="utf-8")
        write_cases(name, Tokenizer.from_str(text))
    bundled = HERE / "../../models/tickets-5m/tokenizer.json"
    write_cases("tickets-5m", Tokenizer.from_file(str(bundled)))


if __name__ == "__main__":
    main()
