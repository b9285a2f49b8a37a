# For the Python package: the interpreter (Python_EXECUTABLE, or PFC_PYTHON), its headers, and the torch that it imports,
# which becomes PFC_LIBTORCH where none is named.
if(PFC_PYTHON AND NOT Python_EXECUTABLE)
  set(Python_EXECUTABLE ${PFC_PYTHON})
endif()
find_package(Python 3.9 QUIET COMPONENTS Interpreter Development.Module)
if(NOT Python_FOUND)
  message(FATAL_ERROR "Python 3.9 or newer with its headers was not found (looked at: ${Python_EXECUTABLE}). On Debian 12, "
                      "scripts/setup.sh installs the headers of the system's Python.")
endif()
if(NOT PFC_LIBTORCH)
  execute_process(COMMAND ${Python_EXECUTABLE} -c "import torch; print(torch.__path__[0])"
                  OUTPUT_VARIABLE torch_folder OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${Python_EXECUTABLE} has no torch. Install it first, and then build with "
                        "`pip install --no-build-isolation .`, which uses it.")
  endif()
  set(PFC_LIBTORCH ${torch_folder})
endif()
