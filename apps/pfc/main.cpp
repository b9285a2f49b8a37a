#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "commands.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/memory.h"
#include "pfc/base/program.h"
#include "pfc/base/progress.h"
#include "pfc/comm/communicator.h"
#include "pfc/comm/join_ranks.h"

namespace {

constexpr int kFailed = 1, kWrongUsage = 2;

/// The begin of an error message.
std::string speaker(const pfc::Launch& launch) {
  return launch.world == 1 ? "pfc: " : "pfc: rank " + std::to_string(launch.rank) + ": ";
}

/// If all ranks fail in the same way, the first one speaks for them: it ends the others before they
/// speak, which takes a launcher up to a second.
int complain(std::string_view sentence, int status, const pfc::Launch& launch) {
  using namespace std::chrono_literals;
  if (launch.rank > 0) std::this_thread::sleep_for(1s + std::min(launch.rank, 10) * 200ms);
  const std::string who = sentence.starts_with("rank ") ? "pfc: " : speaker(launch);
  pfc::tell(who + std::string(sentence));
  if (launch.world > 1) pfc::end_all_ranks(status);
  return status;
}

/// Another rank has ended. The launcher ends this one too if it has noticed; only otherwise, on
/// another machine for example, is there something to say.
int complain_later(std::string_view sentence, const pfc::Launch& launch) {
  std::this_thread::sleep_for(std::chrono::seconds(1));
  return complain(sentence, kFailed, launch);
}

/// LibTorch's messages continue with a stack trace.
std::string_view first_line(std::string_view text) {
  return text.substr(0, text.find('\n'));
}

/// A shell expands ~/ only at the start of a word. Somebody who quotes it, or writes
/// --report=~/lfw.html or -o~/emb.npy, means the same. (The values of --set belong to the
/// configuration.)
std::string expand_argument(const std::string& argument) {
  const auto equals = argument.starts_with("--") ? argument.find('=') : argument.npos;
  const bool attached = argument.size() > 2 && argument[0] == '-' && argument[2] == '~';
  const std::size_t value = equals != argument.npos ? equals + 1 : attached ? 2 : 0;
  return argument.substr(0, value) + pfc::expand_home(argument.substr(value));
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

int run(int argc, char** argv, const pfc::Launch& launch) {
  CLI::App app("Trains face recognition networks with Partial FC, and measures them.", "pfc");
  app.set_version_flag("--version", "pfc " PFC_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  pfc data synth faces\n"
      "  pfc train configs/faces_tiny.toml --set data.train=faces/train.rec\n"
      "  pfc eval verification output/best.safetensors lfw.bin\n"
      "  pfc embed output/best.safetensors photos/ -o photos.npy\n"
      "  pfc convert backbone.pth backbone.safetensors\n"
      "  pfc export output/best.safetensors best.onnx\n"
      "  pfc inspect backbone.pth\n"
      "Each command has its own --help.");
  pfc::add_train(app);
  pfc::add_eval(app);
  pfc::add_embed(app);
  pfc::add_convert(app);
  pfc::add_export(app);
  pfc::add_inspect(app);
  pfc::add_bench(app);
  pfc::add_plan(app);
  pfc::add_data(app);
  if (argc > 1 && argv[1][0] != '-') refuse_unknown_command(app, argv[1]);
  std::vector<std::string> expanded;
  std::vector<const char*> arguments;
  for (int i = 0; i < argc; ++i) expanded.push_back(expand_argument(argv[i]));
  for (const std::string& argument : expanded) arguments.push_back(argument.c_str());
  try {
    app.parse(argc, arguments.data());
  } catch (const CLI::Success& help_or_version) {
    app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return complain(std::string(first_line(error.what())) + " (pfc --help says more)", kWrongUsage,
                    launch);
  }
  std::cout.flush();
  return std::cout ? 0 : complain("standard output: cannot write", kFailed, launch);
}

}  // namespace

int main(int argc, char** argv) {
  pfc::open_standard_descriptors();
  const pfc::PrintableOutput printable;
  pfc::Launch launch;
  try {
    launch = pfc::find_launch();
    pfc::tell_file_faults(speaker(launch));
    return run(argc, argv, launch);
  } catch (const pfc::UsageError& error) {
    return complain(error.what(), kWrongUsage, launch);
  } catch (const c10::OutOfMemoryError& error) {
    return complain(pfc::out_of_gpu_memory(error.what_without_backtrace(), "lower --batch"),
                    kFailed, launch);
  } catch (const std::bad_alloc&) {
    return complain("out of memory", kFailed, launch);
  } catch (const pfc::RankLost& error) {
    return complain_later(error.what(), launch);
  } catch (const pfc::Error& error) {
    return complain(error.what(), kFailed, launch);
  } catch (const std::exception& error) {
    return complain(first_line(error.what()), kFailed, launch);
  }
}
