"""Prints the test vectors of filter.rs: the paths that each pattern matches according to Python's fnmatch."""

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
matches = {pattern: [index for index, path in enumerate(PATHS) if fnmatch.fnmatchcase(path, pattern)]
           for pattern in PATTERNS if not pattern.endswith("/")}
lines = ",\n".join(f"{json.dumps(pattern)}: {json.dumps(found)}" for pattern, found in matches.items())
print('{"paths": ' + json.dumps(PATHS) + ',\n"matches": {\n' + lines + "\n}}")
