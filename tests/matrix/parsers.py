"""Checks with the parsers in a Dynamo wheel whether command lines are valid.

    parsers.py PACKAGES FLAGS

Reads one JSON object per line: {"args": ["-m", "dynamo.vllm", ...], "env": {...}}, and prints one per line:
{"error": null or text, "seen": {...}}. Only the parsers run: their imports of engines and of Dynamo's compiled
core are replaced by dummy modules. Of vLLM's flags only the names are checked.
"""

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import os
import sys
import types
from unittest.mock import MagicMock

PACKAGES, FLAGS = sys.argv[1:3]

# Not in the wheel: the compiled core and its wrappers, engines, and clients that the parsers do not need.
ABSENT = (
    "dynamo._core dynamo.llm dynamo.runtime dynamo.nixl_connect dynamo.prometheus_names vllm torch "
    "transformers numpy uvloop zmq prometheus_client kubernetes aiohttp sglang tensorrt_llm blake3 kvbm "
    "gpu_memory_service huggingface_hub PIL librosa soundfile certifi redis tqdm zstandard"
).split()


class Absent(types.ModuleType):
    """A dummy module in which every name exists."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = MagicMock(name=f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if any(name == absent or name.startswith(absent + ".") for absent in ABSENT):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Absent(spec.name)

    def exec_module(self, module):
        pass


def structure(value):
    """JSON like vLLM's configuration objects: attributes at the top level, dictionaries below."""
    return types.SimpleNamespace(**{"kv_connector_extra_config": None, "enable_kv_cache_events": False, **value})


class EngineArgs:
    """vLLM's arguments: their names, and the values that Dynamo's parsers use."""

    NUMBERS = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--max-model-len")
    STRUCTURES = ("--kv-transfer-config", "--kv-events-config")
    DEFAULTS = {
        "stream_interval": 1,
        "runner": "generate",
        "load_format": "auto",
        "logprobs_mode": "raw_logprobs",
        "data_parallel_size": 1,
        "data_parallel_rank": None,
        "block_size": None,
        "enable_lora": False,
        "enable_prefix_caching": None,
        "distributed_executor_backend": None,
        "kv_events_config": None,
        "kv_transfer_config": None,
    }

    @classmethod
    def add_cli_args(cls, parser, **_):
        known = {flag for action in parser._actions for flag in action.option_strings}
        with open(FLAGS, encoding="utf-8") as lines:
            flags = set(lines.read().split()) - known
        switches = {flag for flag in flags if "--no-" + flag[2:] in flags}
        negations = {"--no-" + flag[2:] for flag in switches}
        for flag in sorted(flags - negations):
            if flag in switches:
                parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None)
            elif flag in cls.NUMBERS:
                parser.add_argument(flag, type=int)
            elif flag in cls.STRUCTURES:
                parser.add_argument(flag, type=json.loads)
            elif flag == "--served-model-name":
                parser.add_argument(flag, nargs="+")
            else:
                parser.add_argument(flag)
        return parser

    @classmethod
    def from_cli_args(cls, args):
        engine = types.SimpleNamespace(**vars(args))
        for name, value in cls.DEFAULTS.items():
            if getattr(engine, name, None) is None:
                setattr(engine, name, value)
        for name in ("kv_events_config", "kv_transfer_config"):
            value = getattr(engine, name)
            setattr(engine, name, structure(value) if isinstance(value, dict) else value)
        return engine


def worker():
    from dynamo.vllm import args

    config = args.parse_args()
    engine = config.engine_args
    seen = {
        "component": config.component,
        "model": config.model,
        "served": config.served_model_name,
        "tensor": getattr(engine, "tensor_parallel_size", None) or 1,
        "pipeline": getattr(engine, "pipeline_parallel_size", None) or 1,
        "data": engine.data_parallel_size or 1,
        "connectors": connectors(config, engine),
    }
    events = args.create_kv_events_config
    # The number of configuration arguments differs between releases.
    count = events.__code__.co_argcount
    given = {1: (engine,), 2: (config, engine)}[count] if hasattr(config, "disaggregation_mode") else (config,)
    made = events(*given)
    seen["events"] = made is not None and made.enable_kv_cache_events is not False
    return seen


def connectors(config, engine):
    """Returns the names of the KV connectors in order, for every way to set them."""
    if getattr(config, "connector_list", None):
        return config.connector_list
    given = engine.kv_transfer_config
    if given is None:
        return []
    if given.kv_connector == "PdConnector":
        names = [one["kv_connector"] for one in given.kv_connector_extra_config["connectors"]]
    else:
        names = [given.kv_connector]
    return [{"NixlConnector": "nixl", "DynamoConnector": "kvbm"}[name] for name in names]


def mocker():
    from dynamo.mocker import args

    parsed = args.parse_args()
    mode = getattr(parsed, "disaggregation_mode", None)
    prefill = parsed.is_prefill_worker or mode == "prefill"
    return {
        "component": "prefill" if prefill else "backend",
        "model": parsed.model_path,
        "served": parsed.model_name,
        "data": getattr(parsed, "data_parallel_size", None) or 1,
    }


def frontend():
    from dynamo.frontend import main

    parsed = main.parse_args()
    config = parsed[0] if isinstance(parsed, tuple) else parsed
    first = lambda *names: next((getattr(config, name) for name in names if hasattr(config, name)), None)
    weight = first("overlap_score_weight", "kv_overlap_score_weight")
    return {
        "mode": config.router_mode,
        "temperature": config.router_temperature,
        "weight": weight if weight is not None else first("prefill_load_scale"),
        "events": first("use_kv_events"),
        "migration": first("migration_limit"),
    }


PARSERS = {"dynamo.vllm": worker, "dynamo.mocker": mocker, "dynamo.frontend": frontend}


def ask(question):
    module, rest = question["args"][1], question["args"][2:]
    sys.argv = [module, *rest]
    before = dict(os.environ)
    os.environ.update(question["env"])
    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints), contextlib.redirect_stdout(complaints):
            return {"error": None, "seen": PARSERS[module]()}
    except SystemExit:
        return {"error": complaints.getvalue().strip().splitlines()[-1], "seen": {}}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "seen": {}}
    finally:
        os.environ.clear()
        os.environ.update(before)


def main():
    sys.meta_path.insert(0, Finder())
    sys.path.insert(0, PACKAGES)
    import vllm.engine.arg_utils
    import vllm.utils
    import vllm.utils.argparse_utils

    vllm.engine.arg_utils.AsyncEngineArgs = EngineArgs
    for place in (vllm.utils, vllm.utils.argparse_utils):
        place.FlexibleArgumentParser = argparse.ArgumentParser
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(ask(json.loads(line)), default=str), file=answers, flush=True)


main()
