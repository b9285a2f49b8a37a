#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "pfc/base/files.h"
#include "pfc/base/progress.h"
#include "pfc/comm/launch.h"
#include "pfc/comm/placement.h"
#include "pfc/eval/embedder.h"
#include "pfc/eval/roc_svg.h"
#include "pfc/eval/verification.h"

namespace pfc {
namespace {

struct VerificationOptions {
  std::string model;
  std::vector<std::string> sets;
  std::string json, roc;
  std::int64_t batch_size = EmbedOptions{}.batch_size;
};

std::string chart(const VerificationOptions& options,
                  const std::vector<VerificationResult>& results) {
  std::vector<RocCurve> curves;
  curves.reserve(results.size());
  for (const VerificationResult& result : results) curves.push_back({result.set, result.roc});
  return roc_svg(std::filesystem::path(options.model).filename().string(), curves);
}

void run_verification(const VerificationOptions& options) {
  std::vector<VerificationSet> sets;  // all are read before the first is embedded, which takes time
  for (const std::string& path : options.sets) sets.push_back(VerificationSet::open(path));
  const auto network = load_backbone(options.model);
  const auto comm = join_ranks(find_launch());
  set_threads(0, place_ranks(*comm));

  std::vector<VerificationResult> results;
  for (const VerificationSet& set : sets) {
    const std::int64_t share = (2 * set.pairs() + comm->world() - 1) / comm->world();
    ProgressLine line(share, 0, !comm->is_first());
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      line.show(done, set.name() + ": " + std::to_string(done) + " of " + std::to_string(total) +
                          " images");
    };
    const PairEmbeddings embeddings =
        embed_pairs(*network, set, {.batch_size = options.batch_size, .progress = progress}, *comm);
    if (comm->is_first()) results.push_back(verify(embeddings));
  }
  comm->barrier();
  if (!comm->is_first()) return;
  std::cout << to_text(results);
  if (!options.json.empty()) write_file(options.json, to_json(results));
  if (!options.roc.empty()) write_file(options.roc, chart(options, results));
}

void add_verification(CLI::App& eval) {
  CLI::App* command = eval.add_subcommand(
      "verification", "Accuracy on pairs of faces: LFW, CFP-FP, AgeDB-30 and sets like them");
  const auto options = std::make_shared<VerificationOptions>();
  command->add_option("MODEL", options->model, "A backbone, .safetensors or .pth")
      ->required()
      ->type_name("FILE");
  command->add_option("SET", options->sets, "Verification sets, .bin")
      ->required()
      ->type_name("FILE");
  command->add_option("--json", options->json, "Write the results to this file")->type_name("FILE");
  command->add_option("--roc", options->roc, "Write the ROC curves to this SVG")->type_name("FILE");
  command->add_option("--batch", options->batch_size, "Images at a time")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->footer(
      "Examples:\n"
      "  pfc eval verification output/best.safetensors lfw.bin cfp_fp.bin --roc roc.svg\n"
      "  mpirun -np 4 pfc eval verification output/best.safetensors lfw.bin");
  command->callback([options] { run_verification(*options); });
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* eval = app.add_subcommand("eval", "Measure a trained network");
  eval->require_subcommand(1);
  eval->footer(
      "Example:\n"
      "  pfc eval verification output/best.safetensors lfw.bin");
  add_verification(*eval);
}

}  // namespace pfc
