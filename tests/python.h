#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "temporary_folder.h"

namespace pfc {

/// Python, with the packages that users have, to read our files back: PFC_PYTHON of the build.
class Python {
 public:
  /// `modules` as in an import statement. The object is false if the build names no Python or if
  /// that Python lacks a module. Modules are looked for but not loaded, because loading torch takes
  /// three seconds.
  explicit Python(const std::string& modules) : modules_(modules) {
    const std::string look = "from importlib.util import find_spec; assert all(map(find_spec, \"" +
                             modules + "\".split(\", \")))";
    found_ = !kInterpreter.empty() && std::system(command("-c '" + look + "'").c_str()) == 0;
  }

  explicit operator bool() const { return found_; }
  std::string why_not() const {
    return kInterpreter.empty() ? "the build names no Python (PFC_PYTHON)"
                                : kInterpreter + " lacks a module of " + modules_;
  }

  /// Runs a program, which gets `argument`, and returns what it prints. Throws if it fails.
  std::string run(const std::string& program, const std::filesystem::path& argument) const {
    const TemporaryFolder folder;
    write_text(folder / "program.py", program);
    std::FILE* const out =
        ::popen(command((folder / "program.py").string() + " " + argument.string()).c_str(), "r");
    std::string printed;
    std::array<char, 4096> part;
    while (const std::size_t size = std::fread(part.data(), 1, part.size(), out)) {
      printed.append(part.data(), size);
    }
    if (::pclose(out) != 0) throw std::runtime_error("the Python program failed");
    return printed;
  }

 private:
  static std::string command(const std::string& arguments) {
    return "'" + kInterpreter + "' " + arguments + " 2>/dev/null";
  }

  inline static const std::string kInterpreter = PFC_PYTHON;
  std::string modules_;
  bool found_;
};

}  // namespace pfc
