// OpenMP's threads that wait for each other spin, for milliseconds by default. On a machine that
// others use, too, a spinning thread keeps the core from the very one it waits for, and a step
// takes two to six times as long as the program's share of the machine would allow. Ten thousand
// turns, tenths of a millisecond, cost a quiet machine nothing.
//
// libgomp reads its environment when it is loaded, before any code of the program: so this runs
// still before that, and starts the program once more with the environment that it wants. Nothing
// of it is left where the user has said how threads are to wait.
//
// A program has this by being linked with the object library pfc_patient_threads.

#include <sys/auxv.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <string_view>
#include <vector>

namespace {

// argv and environment of main(); getenv() knows nothing yet.
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
    return;  // what was started is the loader, given the program's name
  std::array<char, PATH_MAX> program{};
  if (::readlink("/proc/self/exe", program.data(), program.size() - 1) < 0) return;
  ::execve(program.data(), argv, extended.data());  // comes back only where it cannot be
}

// What is in this section of a program runs before its libraries begin.
[[gnu::section(".preinit_array"),
  gnu::used]] void (*before_libraries)(int, char**, char**) = start_with_patient_threads;

}  // namespace
