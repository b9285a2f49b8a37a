"""Makes C++ of a CUDA source: launches_as_calls.py SOURCE.cu TARGET.cpp"""
import re
import sys

source, target = sys.argv[1:]
with open(source) as file:
    text = file.read()


def call(launch):
    kernel = launch[1].replace("size()", "decltype(size)::value")
    return f"simulated_gpu::launch({launch[2]}, [](auto... a) {{ {kernel}(a...); }})"


with open(target, "w") as file:
    file.write('#include "simulated_gpu/kernel_launch.h"\n')
    file.write(re.sub(r"(\w+(?:<size\(\)>)?)\s*<<<(.*?)>>>", call, text, flags=re.DOTALL))
