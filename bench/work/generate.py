# SPDX-License-Identifier: GPL-2.0-or-later
"""Input for programs that others wrote: always the same, and enough to work on for a while."""

import random


def c_function(number, rng):
    """A function with loops, branches, a switch and calls of those before it."""
    calls = [rng.randrange(number) for _ in range(3)] if number else []
    lines = [
        f"static int work_{number}(struct item *items, int n, int seed)",
        "{",
        "\tint i, k, sum = seed;",
        "",
        "\tfor (i = 0; i < n; i++) {",
        f"\t\tstruct item *at = &items[(i * {rng.randrange(3, 99, 2)} + seed) & 1023];",
        "",
        f"\t\tswitch (at->kind % {rng.randrange(5, 12)}) {{",
    ]
    for case in range(5):
        lines += [
            f"\t\tcase {case}:",
            f"\t\t\tsum += at->value * {rng.randrange(1000)} + at->weight[{rng.randrange(8)}];",
            f"\t\t\tat->value ^= sum >> {rng.randrange(1, 20)};",
            "\t\t\tbreak;",
        ]
    lines += [
        "\t\tdefault:",
        f"\t\t\tfor (k = 0; k < {rng.randrange(3, 9)}; k++)",
        "\t\t\t\tat->weight[k & 7] += (sum * k) / (at->kind | 1);",
        "\t\t}",
        f"\t\tif (sum % {rng.randrange(3, 50)} == 0)",
        f"\t\t\tsum -= at->name[{rng.randrange(16)}];",
        "\t}",
        *(f"\tif (n > {rng.randrange(9)})\n\t\tsum += work_{c}(items, n / 2, sum);" for c in calls),
        "\treturn sum;",
        "}",
        "",
    ]
    return "\n".join(lines)


def c_source(path, functions):
    rng = random.Random(2008)
    with open(path, "w", encoding="utf-8") as f:
        f.write("struct item {\n\tint kind, value, weight[8];\n\tchar name[16];\n};\n\n")
        for number in range(functions):
            f.write(c_function(number, rng) + "\n")
        f.write("int work(struct item *items, int n)\n{\n\treturn 0")
        for number in range(functions):
            f.write(f" +\n\t       work_{number}(items, n, {number})")
        f.write(";\n}\n")


def linear_program(path, sources, sinks, products):
    """Multi-commodity transport with shared capacities, in CPLEX's LP format."""
    rng = random.Random(2008)

    def x(i, j, k):
        return f"x{i}_{j}_{k}"

    routes = [
        (i, j)
        for i in range(sources)
        for j in range(sinks)
        if rng.random() < 0.35 or i == j % sources
    ]
    with open(path, "w", encoding="utf-8") as f:
        f.write("Minimize\n cost:")
        for i, j in routes:
            for k in range(products):
                f.write(f" + {rng.randrange(10, 1000)} {x(i, j, k)}\n")
        f.write("Subject To\n")
        for j in range(sinks):
            for k in range(products):
                terms = " + ".join(x(i, j, k) for i, t in routes if t == j)
                f.write(f" d{j}_{k}: {terms} >= {rng.randrange(5, 60)}\n")
        for i, j in routes:
            terms = " + ".join(f"{rng.randrange(1, 5)} {x(i, j, k)}" for k in range(products))
            f.write(f" c{i}_{j}: {terms} <= {rng.randrange(400, 900) * products // 8}\n")
        for i in range(sources):
            for k in range(products):
                terms = " + ".join(x(i, j, k) for s, j in routes if s == i)
                f.write(f" s{i}_{k}: {terms} <= {rng.randrange(40, 90) * sinks // sources * 2}\n")
        f.write("End\n")
