#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "commands.h"
#include "evaluation.h"
#include "network_options.h"
#include "pfc/base/files.h"
#include "pfc/base/progress.h"
#include "pfc/data/image_source.h"
#include "pfc/eval/embedder.h"
#include "pfc/eval/protocol_reports.h"
#include "pfc/eval/roc_svg.h"

namespace pfc {
namespace {

struct VerificationCommand {
  std::string model;
  std::vector<std::string> sets;
  std::string html, json, roc;
  std::optional<double> reject;
  NetworkOptions network;
};

std::string chart(const VerificationCommand& command,
                  const std::vector<VerificationResult>& results) {
  std::vector<RocCurve> curves;
  curves.reserve(results.size());
  for (const VerificationResult& result : results) curves.push_back({result.set, result.roc});
  return roc_svg(std::filesystem::path(command.model).filename().string(), curves);
}

void run_verification(const VerificationCommand& command) {
  require_outputs({command.html, command.json, command.roc});
  std::vector<VerificationSet>
      sets;  // all are read before the first is embedded, because embedding takes time
  for (const std::string& path : command.sets) sets.push_back(VerificationSet::open(path));
  for (const VerificationSet& set : sets) require_pairs(set);
  const auto network = command.network.load(command.model);
  const auto comm = join_evaluation();
  for (const VerificationSet& set : sets)
    require_faces(*images_of_pairs(set), set.name() + ": ", *comm);

  std::vector<VerificationResult> results;
  for (const VerificationSet& set : sets) {
    const PairEmbeddings embeddings =
        embed_pairs(*network, set,
                    {.batch_size = command.network.batch_size,
                     .progress = show_progress(set.name(), "image", *comm)},
                    *comm);
    if (comm->is_first()) results.push_back(verify(embeddings, command.reject));
  }
  comm->barrier();
  if (!comm->is_first()) return;
  std::vector<ImageOfRow> images;
  images.reserve(sets.size());
  std::vector<std::unique_ptr<ImageSource>> sources;
  sources.reserve(sets.size());
  for (const VerificationSet& set : sets)
    images.push_back(pictures_of(*sources.emplace_back(images_of_pairs(set))));
  const Report report = verification_report(results, images, command.model);
  print_text(to_text(report), {command.html, command.json, command.roc});
  if (!command.html.empty()) write_file(command.html, to_html(report));
  if (!command.json.empty()) write_file(command.json, to_json(results));
  if (!command.roc.empty()) write_file(command.roc, chart(command, results));
}

}  // namespace

void add_eval_verification(CLI::App& eval) {
  CLI::App* command = eval.add_subcommand(
      "verification", "Accuracy on pairs of faces: LFW, CFP-FP, AgeDB-30 and sets like them");
  const auto options = std::make_shared<VerificationCommand>();
  command->add_option("MODEL", options->model, "A backbone: .safetensors, .pth or .onnx")
      ->required()
      ->type_name("FILE");
  command->add_option("SET", options->sets, "Verification sets, .bin")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("--report", options->html,
                   "Write a page with the table and the curves to this file")
      ->type_name("FILE.html");
  command->add_option("--json", options->json, "Write the results to this file")->type_name("FILE");
  command->add_option("--roc", options->roc, "Write the ROC curves to this SVG")->type_name("FILE");
  command
      ->add_option("--reject", options->reject,
                   "Show how errors change as images are rejected, those with the shortest "
                   "embeddings first, until this share of them is gone: a table, and a curve in "
                   "the page")
      ->type_name("SHARE")
      ->check(CLI::Range(0.001, 0.999));
  options->network.add_options(*command);
  command->footer(
      "Examples:\n"
      "  pfc eval verification output/best.safetensors lfw.bin cfp_fp.bin --roc roc.svg\n"
      "  mpirun -np 4 pfc eval verification output/best.safetensors lfw.bin --report lfw.html\n"
      "  pfc eval verification output/best.safetensors lfw.bin --reject 0.2 --report lfw.html");
  command->callback([options] { run_verification(*options); });
}

}  // namespace pfc
