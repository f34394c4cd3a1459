"""Local language models for :mod:`model.explain`: a causal LM on disk through ``transformers``, or a llama.cpp server.

Nothing is downloaded. Both decode greedily, so that the same facts give the same words.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from dwplus.errors import InputError
from model.explain import Writer

#: Longest answer.
TOKENS = 256


def language_model(where: str, device: str | None = None, tokens: int = TOKENS) -> Writer:
    """A writer for a folder with a causal LM (say, Phi-3), or the URL of a llama.cpp server.

    Raises
    ------
    InputError
        Where it cannot be loaded or reached.
    """
    if where.startswith(("http://", "https://")):
        return llama_server(where, tokens)
    return transformers_model(where, device, tokens)


def transformers_model(folder: str | Path, device: str | None = None, tokens: int = TOKENS) -> Writer:
    """A writer around a causal LM and its tokenizer on disk.

    Raises
    ------
    InputError
        Where ``transformers`` is not installed, or the folder holds no model it can load.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"LM {folder}: holds no config.json; give the folder of a causal language model, or the URL "
                         "of a llama.cpp server")
    try:
        import transformers
    except ImportError:
        raise InputError("LM: needs transformers; pip install transformers, or leave LM out for the template") from None
    import torch

    try:
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        net: Any = transformers.AutoModelForCausalLM.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # noqa: BLE001  it raises what its many loaders raise
        first = (str(error).splitlines() or [""])[0]
        raise InputError(f"LM {folder}: cannot be loaded ({type(error).__name__}: {first[:200]})") from None
    net = net.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    longest = int(getattr(net.config, "max_position_embeddings", 0) or 0)

    def write(prompt: str) -> str:
        if getattr(tokenizer, "chat_template", None):
            prompt = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
                                                   add_generation_prompt=True)
        given = tokenizer(prompt, return_tensors="pt", add_special_tokens=not getattr(tokenizer, "chat_template", None))
        ids = given["input_ids"]
        if longest and ids.shape[1] + tokens > longest:
            # The end of the prompt asks the question; a model this short cannot hold the facts, and is checked anyway.
            ids = ids[:, -max(1, longest - tokens):]
        ids = ids.to(net.device)
        with torch.inference_mode():
            made = net.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens,
                                do_sample=False, pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id or 0)
        out: str = tokenizer.decode(made[0, ids.shape[1]:], skip_special_tokens=True)
        return out

    return write


def llama_server(url: str, tokens: int = TOKENS, seconds: float = 120.0) -> Writer:
    """A writer around a llama.cpp server's ``/completion``.

    Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    """
    address = url.rstrip("/") + "/completion"

    def write(prompt: str) -> str:
        body = json.dumps({"prompt": prompt, "n_predict": tokens, "temperature": 0, "seed": 0}).encode()
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return str(json.load(answer)["content"])
        except (urllib.error.URLError, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"LM {url}: gives no completion ({type(error).__name__}: {error}); start llama-server "
                             "there, or leave LM out for the template") from None

    return write
