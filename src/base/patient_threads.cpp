// OpenMP's threads spin while they wait for each other, for milliseconds by default. On a machine
// that others use too, a spinning thread keeps the core from the thread it waits for, and a step
// takes two to six times as long as the program's share of the machine would allow. Ten thousand
// turns, tenths of a millisecond, cost nothing on a quiet machine.
//
// libgomp reads its environment when it is loaded, before any code of the program. So this code
// runs even earlier, and starts the program once more with the environment that it wants. It does
// nothing if the user has said how threads should wait.
//
// A program gets this by linking the object library pfc_patient_threads.

#include <sys/auxv.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <string_view>
#include <vector>

namespace {

// Gets main()'s argv and environment; getenv() does not work yet.
void start_with_patient_threads(int, char** argv, char** environment) {
  static char spins[] = "GOMP_SPINCOUNT=10000";
  std::vector<char*> extended = {spins};
  for (; *environment != nullptr; ++environment) {
    const std::string_view variable = *environment;
    if (variable.starts_with("GOMP_SPINCOUNT=") || variable.starts_with("OMP_WAIT_POLICY=")) return;
    extended.push_back(*environment);
  }
  extended.push_back(nullptr);

  if (::getauxval(AT_BASE) == 0)
    return;  // the loader was started, with the program's name as an argument
  std::array<char, PATH_MAX> program{};
  if (::readlink("/proc/self/exe", program.data(), program.size() - 1) < 0) return;
  ::execve(program.data(), argv, extended.data());  // returns only on failure
}

// The system runs functions in this section of a program before its libraries' own initialisers.
[[gnu::section(".preinit_array"),
  gnu::used]] void (*before_libraries)(int, char**, char**) = start_with_patient_threads;

}  // namespace
