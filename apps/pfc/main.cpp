#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "commands.h"
#include "pfc/base/error.h"

namespace {

constexpr int kFailed = 1, kWrongUsage = 2;

/// One line, whatever was thrown: LibTorch's messages go on with a stack trace.
int complain(const std::string& what, int status) {
  std::fprintf(stderr, "pfc: %s\n", what.substr(0, what.find('\n')).c_str());
  return status;
}

/// CLI11 would only say that a command is missing.
void refuse_unknown_command(const CLI::App& app, const std::string& word) {
  std::string known;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == word) return;
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  throw pfc::UsageError("there is no command \"" + word + "\"; there are " + known);
}

int run(int argc, char** argv) {
  CLI::App app("Trains face recognition networks with Partial FC, and measures them.", "pfc");
  app.set_version_flag("--version", "pfc " PFC_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  pfc data synth faces\n"
      "  pfc train configs/faces_tiny.toml --set data.train=faces/train.rec\n"
      "  pfc eval verification output/best.safetensors lfw.bin\n"
      "  pfc embed output/best.safetensors photos/ -o photos.npy\n"
      "Each command has its own --help.");
  pfc::add_train(app);
  pfc::add_eval(app);
  pfc::add_embed(app);
  pfc::add_bench(app);
  pfc::add_plan(app);
  pfc::add_data(app);
  if (argc > 1 && argv[1][0] != '-') refuse_unknown_command(app, argv[1]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return complain(std::string(error.what()) + " (pfc --help says more)", kWrongUsage);
  }
  std::cout.flush();
  return std::cout ? 0 : complain("standard output: cannot write", kFailed);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const pfc::UsageError& error) {
    return complain(error.what(), kWrongUsage);
  } catch (const std::bad_alloc&) {
    return complain("out of memory", kFailed);
  } catch (const std::exception& error) {
    return complain(error.what(), kFailed);
  }
}
