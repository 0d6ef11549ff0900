"""A worker that registers with the real Dynamo runtime and answers fixed text, for the frontend's parsers.

Usage: fixed_text_worker.py MODEL_FOLDER SERVED_NAME ANSWERS [TOOL_CALL_PARSER [REASONING_PARSER]]

ANSWERS is a JSON object with the texts `tools`, `plain`, and `structured`: for a request with tools, one without, and one
with the schema of a structured answer. The IDs of the tokens are bytes, except for the markers of the tokenizer.
"""

import asyncio
import json
import os
import re
import sys

from dynamo.llm import ModelInput, ModelRuntimeConfig, ModelType, WorkerType, register_model
from dynamo.runtime import DistributedRuntime

BYTES = 256


async def serve(folder, name, answers, tool_call_parser="", reasoning_parser=""):
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
        added = {token["content"]: token["id"] for token in json.load(file)["added_tokens"]}
    marker = re.compile("(" + "|".join(re.escape(text) for text in added) + ")")

    def token_ids(text):
        parts = marker.split(text)
        return [token for part in parts for token in ([added[part]] if part in added else part.encode())]

    def answer(request):
        guided = (request["sampling_options"].get("guided_decoding") or {}).get("json") or {}
        if "letters" in guided.get("properties", {}):
            return answers["structured"]
        prompt = bytes(token for token in request["token_ids"] if token < BYTES)
        return answers["tools" if b"Available tools" in prompt else "plain"]

    async def generate(request, context):
        for token in token_ids(answer(request)):
            yield {"token_ids": [token]}
        yield {"token_ids": [added["<|im_end|>"]], "finish_reason": "stop"}

    runtime = DistributedRuntime(asyncio.get_running_loop(), os.environ["DYN_DISCOVERY_BACKEND"], "tcp")
    endpoint = runtime.endpoint("dynamo.backend.generate")
    config = ModelRuntimeConfig()
    config.total_kv_blocks, config.max_num_seqs, config.max_num_batched_tokens = 1024, 8, 8192
    if tool_call_parser:
        config.tool_call_parser = tool_call_parser
    if reasoning_parser:
        config.reasoning_parser = reasoning_parser
    await register_model(
        ModelInput.Tokens,
        ModelType.Chat | ModelType.Completions,
        endpoint,
        folder,
        name,
        kv_cache_block_size=16,
        runtime_config=config,
        worker_type=WorkerType.Aggregated,
        needs=[],
    )
    await endpoint.serve_endpoint(generate)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), *sys.argv[4:]))
