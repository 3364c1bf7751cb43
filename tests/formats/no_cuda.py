"""Makes PyPI's PyTorch usable without CUDA's 3 GB of libraries.

The wheels for x86-64 are linked with CUDA, and there is no smaller one on
PyPI. Exporting on a CPU calls nothing of it, but the loader wants the
libraries, with their symbols and symbol versions. So each missing library is
made here, of functions that return 100 (cudaErrorNoDevice).

    no_cuda.py SITE-PACKAGES    (needs gcc, and binutils' readelf)
"""
import collections
import pathlib
import re
import subprocess
import sys

FOREIGN = re.compile(r"lib(cu|nccl|nv)")
SYMBOL = re.compile(r"_*(cu[A-Z]|cuda|cublas|cudnn|cufft|cufile|cupti|"
                    r"cusparse|cusolver|nccl|nvrtc|nvshmem)")


def readelf(flag, path):
    return subprocess.run(["readelf", "-W", flag, path], check=True, text=True,
                          capture_output=True).stdout


def survey(lib):
    """Missing libraries with their versions; symbols by version ("": none)."""
    missing, symbols = {}, collections.defaultdict(set)
    for path in lib.glob("lib*.so*"):
        for name in re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d", path)):
            if FOREIGN.match(name) and not (lib / name).exists():
                missing.setdefault(name, set())
        name = None
        for word, value in re.findall(r"(File|Name): (\S+)",
                                      readelf("-V", path)):
            name = value if word == "File" else name
            if word == "Name" and name in missing:
                missing[name].add(value)
        for line in readelf("--dyn-syms", path).splitlines():
            field = line.split()
            if len(field) > 7 and field[4:7:2] == ["GLOBAL", "UND"]:
                symbol, _, version = field[7].partition("@")
                symbols[version].add(symbol)
    symbols[""] = {s for s in symbols[""] if SYMBOL.match(s)}
    return missing, symbols


def build(lib, name, versions, symbols, unversioned):
    functions, script = set(unversioned), ""
    for version in versions:
        functions |= symbols[version]
        script += f'{version} {{ {" ".join(s + ";" for s in symbols[version])} }};\n'
    (lib / "versions.map").write_text(script)
    command = ["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", "-x", "c", "-",
               f"-Wl,-soname,{name}", "-o", lib / name]
    if script:
        command.append(f"-Wl,--version-script={lib / 'versions.map'}")
    source = "".join(f"int {s}(void) {{ return 100; }}\n" for s in functions)
    subprocess.run(command, input=source, text=True, check=True)


lib = pathlib.Path(sys.argv[1]) / "torch" / "lib"
missing, symbols = survey(lib)
for i, (name, versions) in enumerate(sorted(missing.items())):
    # Which of the missing ones has a symbol without version does not matter.
    build(lib, name, versions, symbols, symbols[""] if i == 0 else ())
print(f"{len(missing)} libraries of CUDA replaced")
