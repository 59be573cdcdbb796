# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of the evaluation, one row each: adding a program is adding a row.

All are real programs at work on generated data that is always the same, and all end by themselves, so
that what a restarted one has written can be compared with what an undisturbed one has. A row says how
to make the input, the command line, and the point of its work at which it is checkpointed:

    lines    lines that it has written to its standard output
    written  bytes that it has written
    read     bytes of its input that it has read
    cpu      user processor time in seconds, where there is nothing better

Standard output is the file `out` in the program's directory. `result` makes what is compared of the
files there: all of `out` unless there are times in it.
"""

import dataclasses
import os
import random
import re
import subprocess
import sys
import typing

import lab

WORK = os.path.join(lab.ROOT, "bench", "evaluation", "work")
sys.path.insert(0, os.path.join(lab.ROOT, "bench", "work"))
import generate  # noqa: E402


def nothing(_directory):
    """A program that needs no input."""


def output(directory):
    with open(os.path.join(directory, "out"), "rb") as f:
        return f.read()


@dataclasses.dataclass(frozen=True)
class Program:
    """A row of the table; every function gets the directory that the program may use."""

    name: str
    what: str
    packages: tuple  # Debian packages that only this row needs
    command: tuple  # DIR stands for the directory
    marker: str
    point: float  # the marker's value at which it is checkpointed
    prepare: typing.Callable = nothing
    result: typing.Callable = output
    environment: tuple = ()
    quick: bool = False  # part of a quick run


# ---- inputs ----


def put(name, text):
    """Makes an input file of a given content."""

    def prepare(directory):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            f.write(text)

    return prepare


def generated(name, generator, *sizes):
    return lambda directory: generator(os.path.join(directory, name), *sizes)


def words(directory):
    """Text of 100,000 words, the frequent ones far more often than the rare ones."""
    rng = random.Random(2008)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    vocabulary = ["".join(rng.choices(letters, k=rng.randrange(2, 11))) for _ in range(100_000)]
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
    with open(os.path.join(directory, "input"), "w", encoding="ascii") as f:
        for _ in range(40):
            f.write(" ".join(rng.choices(vocabulary, weights, k=90_000)) + "\n")


def compile_java(directory):
    source = os.path.join(lab.ROOT, "bench", "work", "Orders.java")
    subprocess.run(["javac", "-d", directory, source], check=True, stdout=2)


def graph(directory):
    """A random geometric graph, in which graphviz looks for all shortest paths."""
    rng = random.Random(2008)
    nodes = [(rng.random(), rng.random()) for _ in range(6500)]
    with open(os.path.join(directory, "input.dot"), "w", encoding="ascii") as f:
        f.write("graph g {\n")
        for a, (x, y) in enumerate(nodes):
            f.write(f"n{a};\n" + (f"n{a} -- n{a - 1};\n" if a else ""))
            near = [b for b in range(a) if abs(nodes[b][0] - x) + abs(nodes[b][1] - y) < 0.02]
            f.writelines(f"n{a} -- n{b};\n" for b in near)
        f.write("}\n")


LIQUID = """units lj
atom_style atomic
lattice fcc 0.8442
region box block 0 60 0 60 0 60
create_box 1 box
create_atoms 1 box
mass 1 1.0
velocity all create 3.0 87287 loop geom
pair_style lj/cut 2.5
pair_coeff 1 1 1.0 1.0 2.5
neighbor 0.3 bin
neigh_modify every 20 delay 0 check no
fix 1 all nve
thermo 5
thermo_modify flush yes format float %.15g
run 60
"""


def molecules(directory):
    """Water molecules on a grid, whose integrals are kept in memory."""
    atoms = []
    for n in range(8):
        x, y, z = 3.1 * (n % 2), 3.1 * (n // 2 % 2), 3.1 * (n // 4)
        atoms += [f"O {x} {y} {z}", f"H {x + 0.757} {y + 0.586} {z}", f"H {x - 0.757} {y + 0.586} {z}"]
    with open(os.path.join(directory, "input.nw"), "w", encoding="ascii") as f:
        f.write("start water\nmemory stack 200 mb heap 500 mb global 200 mb\n")
        f.write("geometry units angstrom noautosym noautoz\n" + "\n".join(atoms) + "\nend\n")
        f.write("basis\n* library cc-pvdz\nend\nscf\nthresh 1e-8\n")
        f.write("semidirect memsize 40000000 filesize 0\nend\ntask scf gradient\n")


# ---- results ----


def lines_with(pattern):
    """The lines of `out` in which the pattern is found, without what it names as `time`."""
    compiled = re.compile(pattern)

    def result(directory):
        found = (compiled.search(line) for line in output(directory).decode().splitlines())
        return "\n".join(match[0] for match in found if match).encode()

    return result


def content(name):
    def result(directory):
        with open(os.path.join(directory, name), "rb") as f:
            return f.read()

    return result


# MPI programs run as a single process that opens no connection and starts no daemon
ALONE = (
    ("OMPI_MCA_ess_singleton_isolated", "1"),
    ("OMPI_MCA_btl", "self"),
    ("OMPI_MCA_pml", "ob1"),
    ("OMPI_MCA_plm", "isolated"),
    ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
)
ENERGIES = r"(Total SCF energy|Nuclear repulsion energy) *= *\S+|^ *\d+ [OH] +(\S+ +){5}\S+"
PYTHON = "/usr/bin/python3"
NOT_ROOT = os.path.join(lab.BUILD, "bench", "libnot_root.so")
SOLVE = ("-allslack", "-primalsimplex") * 15

PROGRAMS = (
    Program(
        name="xz",
        what="xz -9, a window of 64 MB",
        packages=("xz-utils",),
        prepare=words,
        command=("xz", "-9", "-T1", "-k", "-c", "DIR/input"),
        marker="read",
        point=17_000_000,
    ),
    Program(
        name="cc1",
        what="the C compiler on a file of 2 MB",
        packages=("gcc",),
        prepare=generated("input.c", generate.c_source, 2000),
        command=("CC1", "-quiet", "-O2", "DIR/input.c", "-o", "-"),
        marker="written",
        point=4_000_000,
    ),
    Program(
        name="perl",
        what="perl, queries to an inverted index in hashes",
        packages=("perl",),
        command=("perl", f"{WORK}/index.pl", "80000", "13500"),
        marker="lines",
        point=15,
    ),
    Program(
        name="clp",
        what="COIN-OR's simplex, a transport problem again and again",
        packages=("coinor-clp",),
        prepare=generated("input.lp", generate.linear_program, 80, 280, 66),
        command=("clp", "DIR/input.lp", *SOLVE, "-solution", "DIR/solution"),
        marker="cpu",
        point=12,
        result=content("solution"),
    ),
    Program(
        name="neato",
        what="graphviz, all shortest paths in a graph of 6,500 nodes",
        packages=("graphviz",),
        prepare=graph,
        command=("neato", "-Tplain", "-Gmaxiter=40", "DIR/input.dot"),
        marker="cpu",
        point=17,
    ),
    Program(
        name="lammps",
        what="molecular dynamics of 864,000 atoms",
        packages=("lammps",),
        prepare=put("input", LIQUID),
        command=("lmp", "-log", "none", "-in", "DIR/input"),
        marker="lines",
        point=35,
        environment=ALONE,
        result=lines_with(r"^ *\d+( +-?[0-9.e+-]+){5}"),
    ),
    Program(
        name="nwchem",
        what="quantum chemistry, Hartree-Fock of eight water molecules",
        packages=("nwchem",),
        prepare=molecules,
        command=("nwchem", "DIR/input.nw"),
        marker="cpu",
        point=36,
        environment=ALONE,
        result=lines_with(ENERGIES),
    ),
    Program(
        name="lattice",
        what="a lattice-Boltzmann flow that touches everything in each step",
        packages=(),
        command=(os.path.join(lab.BUILD, "bench", "lattice"), "90", "100"),
        marker="lines",
        point=4,
    ),
    Program(
        name="numpy",
        what="CPython and numpy, columns of 290 MB",
        packages=("python3-numpy",),
        command=(PYTHON, f"{WORK}/tables.py", "280"),
        marker="lines",
        point=100,
        environment=(("OPENBLAS_NUM_THREADS", "1"),),
    ),
    Program(
        name="cpython",
        what="CPython, reports over objects of 240 MB",
        packages=(),
        command=(PYTHON, f"{lab.ROOT}/bench/work/orders.py", "DIR/counter", "240", "36000"),
        marker="lines",
        point=60,
        quick=True,
    ),
    Program(
        name="r",
        what="R, regressions over a data frame of 200 MB",
        packages=("r-base-core",),
        command=("Rscript", f"{WORK}/panel.R", "650"),
        marker="lines",
        point=100,
    ),
    Program(
        name="octave",
        what="GNU Octave, factorizations in a matrix of 200 MB",
        packages=("octave",),
        command=("octave-cli", "-q", f"{WORK}/waves.m", "185"),
        marker="lines",
        point=80,
        environment=(("OPENBLAS_NUM_THREADS", "1"),),
    ),
    Program(
        name="jvm",
        what="the JVM, reports over objects of 200 MB, heap of 400 MB",
        packages=("openjdk-17-jdk-headless",),
        prepare=compile_java,
        command=(
            *("java", "-cp", "DIR", "-Xms400m", "-Xmx400m", "-XX:-UsePerfData"),
            *("Orders", "DIR/counter", "200", "92000"),
        ),
        marker="lines",
        point=80,
    ),
    Program(
        name="redis",
        what="redis-server of 230 MB and its client",
        packages=("redis-server", "python3-redis", "python3-hiredis"),
        command=(PYTHON, f"{WORK}/cache.py", "DIR", "190000"),
        marker="lines",
        point=60,
        quick=True,
    ),
    Program(
        name="postgres",
        what="PostgreSQL with 256 MB of shared buffers, under pgbench",
        packages=("postgresql", "postgresql-client"),
        # its segment of System V shared memory can only be dumped with an IPC namespace
        command=("unshare", "--ipc", PYTHON, f"{WORK}/database.py", "DIR", "90", NOT_ROOT),
        marker="lines",
        point=30,
    ),
)
