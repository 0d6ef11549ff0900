"""Prints the vectors of filter.rs: every pattern against every path, by Python's own fnmatch."""

import fnmatch
import json
import random

random.seed(4)
PATHS = ["", "a", "b", "-", "!", "]", "[", "model.bin", "x/model.bin", "model.safetensors", "original/a.pth",
         "a/b/c.json", ".hidden", "a-b", "m1.bin", "m2.bin", "*.[", "a]b", "a[b", "a^b", "a\\b", "Z", "ü.txt"]
PATTERNS = ["*", "**", "**.bin", "*.[", "*.bin", "?", "[ab]", "[!ab]", "[a-c]", "[c-a]", "[!c-a]", "[]]", "[!]]",
            "[]-a]", "[--/]", "[a-]", "[-a]", "[!-]", "[!a-]", "[", "[!", "[a", "m[12].bin", "*/*", "original/*",
            "a[[]b", "a[]]b", "[^a]", "a\\b", "a[\\]b", "[a-c-e]", "[X-a]", "[ -~]", "*.json", "[!!]", "[!-/]",
            "[-!]", "[]!-]", "a?b", "*a*b*", "ü*"]
ALPHABET = "ab*?[]!-./"
PATTERNS += ["".join(random.choices(ALPHABET, k=random.randint(1, 7))) for _ in range(120)]
vectors = [[pattern, path, fnmatch.fnmatchcase(path, pattern)] for pattern in PATTERNS for path in PATHS
           if not pattern.endswith("/")]
print("[" + ",\n".join(json.dumps(vector) for vector in vectors) + "]")
