#include "pfc/train/checkpoint.h"
#include "head/center_format.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "comm/first_failure.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"
#include "pfc/comm/long_work.h"
#include "pfc/head/center_file.h"
#include "pfc/model/backbone_file.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-", kPartial = ".partial", kRemoved = ".removed",
                           kDamaged = ".damaged";
constexpr const char *kManifest = "manifest.json", *kBackbone = "backbone.safetensors",
                     *kOptimizer = "optimizer.safetensors";

/// step-000001200 -> 1200; nothing for other names.
std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || stop != end) return std::nullopt;
  return step;
}

fs::path with(fs::path path, std::string_view suffix) {
  return path += suffix;
}

CheckedFile open(const fs::path& folder, const Manifest& manifest, const std::string& name) {
  const auto found = manifest.files.find(name);
  if (found == manifest.files.end())
    throw DataError((folder / kManifest).string(), "files", "'" + name + "' is missing");
  if (!is_there(folder / name)) throw DataError(folder.string(), name, "is missing");
  return {folder / name, found->second};
}

/// A small file is checked as a whole before it is read.
fs::path verified(const fs::path& folder, const Manifest& manifest, const std::string& name) {
  open(folder, manifest, name).verify();
  return folder / name;
}

void load(const fs::path& folder, const Manifest& manifest, const TrainState& state) {
  load_backbone(verified(folder, manifest, kBackbone), state.backbone);
  state.optimizer.load(verified(folder, manifest, kOptimizer));
  load_centers(state.table, manifest.step, manifest.world, [&](int rank) {
    return open(folder, manifest, center_file_name(rank, manifest.world));
  });
  state.run.load(manifest, (folder / kManifest).string());
}

/// Throws DataError if the folder is not a checkpoint of this step.
Manifest manifest_in(const fs::path& folder, std::int64_t step) {
  const fs::path file = folder / kManifest;
  if (!is_there(file)) throw DataError(folder.string(), kManifest, "is missing");
  Manifest manifest = parse_manifest(read_file(file), file.string());
  if (manifest.step != step)
    throw DataError(file.string(), "step", std::to_string(manifest.step) + " in this folder");
  return manifest;
}

/// The sentence of what `work` threw; empty if it did not throw.
std::string failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  } catch (const fs::filesystem_error& error) {
    return error.path1().string() + ": " + error.code().message();
  }
  return {};
}

}  // namespace

Checkpoints::Checkpoints(CheckpointOptions options, Communicator& comm,
                         std::function<void(const std::string&)> note)
    : options_(std::move(options)), comm_(comm), note_(std::move(note)) {
  // As the first rank sees it: on a network's file system another rank may not see it yet.
  if (comm.is_first()) steps_ = find();
  at::Tensor count = at::scalar_tensor(std::ssize(steps_), at::kLong);
  comm.broadcast(count).wait();
  steps_.resize(static_cast<std::size_t>(count.item<std::int64_t>()));
  if (steps_.empty()) return;
  at::Tensor steps = at::from_blob(steps_.data(), {std::ssize(steps_)}, at::kLong);
  comm.broadcast(steps).wait();
}

fs::path Checkpoints::path_of(std::int64_t step) const {
  return options_.folder / format("step-%09lld", static_cast<long long>(step));
}

std::vector<std::int64_t> Checkpoints::find() const {
  std::vector<std::int64_t> steps;
  if (!is_there(options_.folder)) return steps;
  for (const fs::path& entry : entries_of(options_.folder)) {
    if (const auto step = step_of(entry.filename().string())) steps.push_back(*step);
  }
  std::ranges::sort(steps, std::greater());
  return steps;
}

std::optional<Manifest> Checkpoints::newest() {
  return first_that([](const fs::path&, const Manifest&) {});
}

Manifest Checkpoints::restore(const TrainState& state) {
  Manifest manifest = *first_that(
      [&](const fs::path& folder, const Manifest& found) { load(folder, found, state); });
  state.run.broadcast(comm_);
  return manifest;
}

/// The newest checkpoint with which `serves` finds no fault on any rank; the faulty ones are set
/// aside.
std::optional<Manifest> Checkpoints::first_that(
    const std::function<void(const fs::path&, const Manifest&)>& serves) {
  if (steps_.empty()) return std::nullopt;
  while (!steps_.empty()) {
    const fs::path folder = path_of(steps_.front());
    Manifest manifest;
    std::string damage, failure;
    long_work(comm_, [&] {
      try {
        manifest = manifest_in(folder, steps_.front());
        serves(folder, manifest);
      } catch (const DataError& error) {
        damage = error.what();
      } catch (const Error& error) {
        failure = error.what();
      }
    });
    // A checkpoint that cannot be read now may be good, so a person must decide.
    if (const auto failed = first_failure(failure, comm_)) throw Error(failed->sentence);
    const auto damaged = first_failure(damage, comm_);
    if (!damaged) return manifest;
    if (damaged->rank == comm_.rank()) note_("this checkpoint cannot be used: " + damage);
    if (comm_.is_first()) set_aside(path_of(steps_.front()));
    steps_.erase(steps_.begin());
  }
  throw Error(options_.folder.string() +
              ": no checkpoint is whole; start anew in another folder (--set output=FOLDER)");
}

void Checkpoints::set_aside(const fs::path& folder) const {
  fs::path to = with(folder, kDamaged);
  for (int number = 2; is_there(to); ++number)
    to = with(with(folder, kDamaged), "-" + std::to_string(number));
  rename_durably(folder, to);
  note_("it is now called " + to.string());
}

std::int64_t Checkpoints::save(const TrainState& state, const std::string& network,
                               std::int64_t embedding_size, Manifest manifest) {
  const fs::path folder = path_of(state.run.step), partial = with(folder, kPartial);
  on_all_or_none(partial, [&] {
    if (!comm_.is_first()) return;
    manifest.world = comm_.world();
    state.run.save(manifest);
    fs::create_directories(options_.folder);
    remove_old(state.run.step);  // also removes a killed save, to make room for this one
    fs::create_directory(partial);
  });
  Checksums centers;
  on_all_or_none(partial, [&] {
    centers = save_centers(state.table, state.identities,
                           partial / center_file_name(comm_.rank(), comm_.world()));
    if (!comm_.is_first()) return;
    manifest.files[kBackbone] =
        save_backbone(state.backbone, network, embedding_size, partial / kBackbone);
    manifest.files[kOptimizer] = state.optimizer.save(partial / kOptimizer);
  });
  gather_sums(centers, manifest);
  std::int64_t bytes = 0;
  on_all_or_none(partial, [&] {
    if (!comm_.is_first()) return;
    write_file(partial / kManifest, to_json(manifest));
    if (is_there(folder)) remove(folder);
    rename_durably(partial, folder);  // now the checkpoint exists, whatever happens to older ones
    const std::string left = failure_of([&] { remove_old(state.run.step); });
    if (!left.empty()) note_("older checkpoints are not removed: " + left);
    for (const auto& [name, sums] : manifest.files) bytes += static_cast<std::int64_t>(sums.bytes);
  });
  return bytes;
}

/// If one rank cannot do its part, for example on a full disk, all give up the checkpoint, and the
/// first rank removes it, so that a full disk does not stay full.
void Checkpoints::on_all_or_none(const fs::path& partial, const std::function<void()>& work) {
  std::string failure;
  long_work(comm_, [&] { failure = failure_of(work); });
  const auto failed = first_failure(failure, comm_);
  if (!failed) return;
  std::error_code there_was_none;
  if (comm_.is_first()) fs::remove_all(partial, there_was_none);
  throw NotSaved(failed->sentence);
}

/// The ranks' files may differ by one row, so they may differ in the number of checksums. They are
/// gathered with the length of the longest.
void Checkpoints::gather_sums(const Checksums& sums, Manifest& manifest) {
  const auto blocks = static_cast<std::int64_t>(sums.blocks.size());
  const at::Tensor sizes =
      comm_.all_gather(at::tensor({static_cast<std::int64_t>(sums.bytes), blocks}).view({1, 2}))
          .wait();
  const at::Tensor mine = at::zeros({1, sizes.select(1, 1).max().item<std::int64_t>()}, at::kLong);
  std::ranges::copy(sums.blocks, reinterpret_cast<std::uint64_t*>(mine.data_ptr<std::int64_t>()));
  const at::Tensor all = comm_.all_gather(mine).wait();
  for (int rank = 0; rank < comm_.world(); ++rank) {
    const auto* const size = sizes[rank].const_data_ptr<std::int64_t>();
    const auto* const first =
        reinterpret_cast<const std::uint64_t*>(all[rank].const_data_ptr<std::int64_t>());
    manifest.files[center_file_name(rank, comm_.world())] = {static_cast<std::uint64_t>(size[0]),
                                                             {first, first + size[1]}};
  }
}

/// Removes all checkpoints but the newest, those to keep for good and those set aside, and what a
/// killed save or removal left.
void Checkpoints::remove_old(std::int64_t newest) const {
  for (const fs::path& entry : entries_of(options_.folder)) {
    const std::string name = entry.filename().string();
    if (name.starts_with(kPrefix) && (name.ends_with(kPartial) || name.ends_with(kRemoved)))
      remove_all(entry);
  }
  std::int64_t kept = 0;
  for (const std::int64_t step : find()) {
    const bool for_good = options_.keep_every > 0 && step % options_.keep_every == 0;
    if (!for_good && step <= newest && ++kept > options_.keep_last) remove(path_of(step));
  }
}

/// Renamed first, because half of a checkpoint must not look like one.
void Checkpoints::remove(const fs::path& folder) const {
  const fs::path removed = with(folder, kRemoved);
  rename_durably(folder, removed);
  remove_all(removed);
}

/// A failure to remove is no reason to end a run; the next save tries again.
void Checkpoints::remove_all(const fs::path& folder) const {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) note_(folder.string() + ": cannot be removed: " + error.message());
}

}  // namespace pfc
