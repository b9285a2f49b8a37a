#include "evaluation.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/progress.h"
#include "pfc/comm/join_ranks.h"
#include "pfc/comm/long_work.h"
#include "pfc/comm/placement.h"
#include "pfc/data/decode_check.h"
#include "pfc/eval/embedder.h"

namespace pfc {

void ReportFiles::add_options(CLI::App& command) {
  command
      .add_option("--report", html, "Write a page with tables, curves and pictures to this file")
      ->type_name("FILE.html");
  command.add_option("--json", json, "Write the figures to this file")->type_name("FILE");
}

void ReportFiles::write(const Report& report) const {
  print_text(to_text(report), {json, html});
  if (!json.empty()) write_file(json, to_json(report));
  if (!html.empty()) write_file(html, to_html(report));
}

void ModelOptions::add_options(CLI::App& command) {
  command
      .add_option("--model", model,
                  "A backbone (.safetensors, .pth or .onnx) that embeds the images; not needed if "
                  "you give embeddings")
      ->type_name("FILE");
  network.add_options(command);
}

std::unique_ptr<Features> ModelOptions::embed(const ImageSource& images, bool with_mirrored,
                                              bool need_all, Communicator& comm) const {
  const auto backbone = long_work(comm, [&] { return network.load(model); });
  if (need_all) require_faces(images, "", comm);
  ProgressLine line(images.size(), 0, !comm.is_first());
  if (const std::string what = images.passed_over(); !what.empty())
    line.note("passed over: " + what);
  UnusableImages left_out(line, "left out: ");
  auto features = embed_images(
      *backbone, images,
      [&](std::int64_t image, const std::string& reason) {
        const std::string name = images.name(image);
        if (need_all) throw DataError(printable(name), "image", reason);
        if (comm.is_first()) left_out.add(name, reason);
      },
      {.batch_size = network.batch_size,
       .add_mirrored = with_mirrored,
       .progress =
           [&](std::int64_t done, std::int64_t total) {
             line.show(done, "embedding: " + grouped(done) + " of " + counted(total, "image"));
           }},
      comm);
  if (left_out.count() > 0) line.note(counted(left_out.count(), "image") + " left out");
  return features;
}

void require_outputs(std::initializer_list<std::filesystem::path> files) {
  if (find_launch().rank == 0) std::ranges::for_each(files, require_writable);
}

void UnusableImages::add(const std::string& name, const std::string& reason) {
  if (++count_ <= kNamed) line_.note(what_ + printable(name) + ": " + reason);
  if (count_ == kNamed + 1) line_.note("more follow, which are only counted");
}

void require_faces(const ImageSource& images, const std::string& set, Communicator& comm) {
  const std::int64_t n = images.size();
  const std::int64_t begin = n * comm.rank() / comm.world();
  const std::int64_t end = n * (comm.rank() + 1) / comm.world();
  ProgressLine line(end - begin, 0, !comm.is_first());
  UnusableImages found(line, set);
  const auto show = [&](std::int64_t done) {
    if (line.due(done))
      line.show(done, set + "checking images: " + grouped(done) + " of " + grouped(end - begin));
  };
  const std::vector<BrokenFace> broken =
      long_work(comm, [&] { return check_faces(images, begin, end, at::get_num_threads(), show); });
  for (const BrokenFace& face : broken) found.add(images.name(face.image), face.reason);
  at::Tensor unusable = at::full({1}, found.count(), at::kLong);
  comm.all_reduce(unusable).wait();
  if (const auto count = unusable.item<std::int64_t>(); count > 0) {
    throw Error(set + grouped(count) + " of " + counted(n, "image") +
                " cannot be used, and the evaluation needs all: replace them with good ones");
  }
}

std::unique_ptr<Communicator> join_evaluation() {
  auto comm = join_ranks(find_launch(), UseGpus::kNever);
  set_threads(0, place_ranks(*comm));
  return comm;
}

std::function<void(std::int64_t done, std::int64_t total)> show_progress(const std::string& what,
                                                                         const std::string& unit,
                                                                         const Communicator& comm) {
  return [what, unit, quiet = !comm.is_first(), line = std::shared_ptr<ProgressLine>()](
             std::int64_t done, std::int64_t total) mutable {
    if (!line) line = std::make_shared<ProgressLine>(total, 0, quiet);
    if (line->due(done))
      line->show(done, what + ": " + grouped(done) + " of " + counted(total, unit));
  };
}

}  // namespace pfc
