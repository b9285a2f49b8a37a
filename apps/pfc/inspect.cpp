#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "commands.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/dataset.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/verification_set.h"
#include "pfc/formats/npy.h"
#include "pfc/formats/onnx_file.h"
#include "pfc/formats/safetensors.h"
#include "pfc/formats/torch_file.h"
#include "pfc/model/backbone_file.h"
#include "pfc/train/manifest.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kKinds =
    "a checkpoint's folder, .safetensors, .pth, .onnx, .rec, .bin, .npy or a folder of images";

/// Prints name, type and shape of each.
void print_tensors(const std::vector<TensorStream>& tensors) {
  std::size_t width = 0;
  for (const TensorStream& tensor : tensors) width = std::max(width, tensor.name.size());
  for (const TensorStream& tensor : tensors) {
    const std::string name = printable(tensor.name);
    std::cout << "  " << name << std::string(std::max(width, name.size()) - name.size() + 2, ' ')
              << format("%-4s ", tensor.dtype.c_str()) << shape_text(tensor.shape) << "\n";
  }
}

std::string total_text(const std::vector<TensorStream>& tensors) {
  std::uint64_t bytes = 0;
  for (const TensorStream& tensor : tensors)
    bytes += byte_size(tensor.dtype, tensor.shape).value_or(0);
  return counted(std::ssize(tensors), "tensor") + ", " +
         size_text(static_cast<std::int64_t>(bytes));
}

/// The network that the tensors belong to, if they belong to one.
void print_network(const fs::path& path) {
  try {
    const BackboneName name = name_of_backbone(path, {});
    std::cout << "  a network: " << printable(name.network) << ", embeddings of "
              << name.embedding_size << "\n";
  } catch (const DataError&) {  // the tensors of something else
  }
}

void inspect_safetensors(const fs::path& path) {
  const SafetensorsFile file(path);
  std::vector<TensorStream> tensors;
  for (const TensorView& tensor : file.tensors()) tensors.push_back(as_stream(tensor));
  std::cout << path.string() << ": safetensors, " << total_text(tensors) << "\n";
  if (!file.metadata().contains("network")) print_network(path);
  for (const auto& [key, value] : file.metadata())
    std::cout << "  " << printable(key) << " = " << printable(value) << "\n";
  print_tensors(tensors);
}

/// Prints a dict in full. Of several dicts under one key, as in an optimizer, it prints only the
/// number.
void inspect_torch(const fs::path& path) {
  const TorchFile file = TorchFile::open(path);
  if (auto tensor = file.tensor()) {
    tensor->name = "(no name)";
    std::cout << path.string() << ": PyTorch, " << total_text({*tensor}) << "\n";
    return print_tensors({*tensor});
  }
  std::vector<TensorStream> all;
  std::map<std::string, std::vector<TorchDict>> under;  // the first key
  for (TorchDict& dict : file.dicts()) {
    all.insert(all.end(), dict.tensors.begin(), dict.tensors.end());
    const std::string key = dict.path.substr(0, dict.path.find('.'));
    under[key].push_back(std::move(dict));
  }
  std::cout << path.string() << ": PyTorch, " << file.describe() << ", " << total_text(all) << "\n";
  print_network(path);
  for (const auto& [key, dicts] : under) {
    if (dicts.size() > 1) {
      std::vector<TensorStream> tensors;
      for (const TorchDict& dict : dicts)
        tensors.insert(tensors.end(), dict.tensors.begin(), dict.tensors.end());
      std::cout << "  under '" << printable(key) << "': " << counted(std::ssize(dicts), "dict")
                << ", " << total_text(tensors) << "\n";
      continue;
    }
    const TorchDict& dict = dicts.front();
    if (!dict.path.empty())
      std::cout << "  under '" << printable(dict.path) << "': " << total_text(dict.tensors) << "\n";
    print_tensors(dict.tensors);
    for (const std::string& name : dict.unread)
      std::cout << "  " << printable(name) << ", not read\n";
  }
}

void inspect_onnx(const fs::path& path) {
  const OnnxSummary file = read_onnx(path);
  std::cout << path.string() << ": ONNX, " << printable(file.network) << " by "
            << printable(file.producer) << ", opset " << file.opset << ", IR " << file.ir_version
            << ", " << counted(file.parameters, "parameter") << ", " << counted(file.nodes, "node")
            << "\n";
  const auto print = [](const char* kind, const std::vector<OnnxPort>& ports) {
    for (const OnnxPort& port : ports) {
      std::string shape;
      for (const std::string& extent : port.shape)
        shape += (shape.empty() ? "" : ", ") + printable(extent);
      std::cout << "  " << kind << " " << printable(port.name) << " [" << shape << "]\n";
    }
  };
  print("input", file.inputs);
  print("output", file.outputs);
  for (const auto& [name, count] : file.operators)
    std::cout << format("  %5lld %s\n", static_cast<long long>(count), printable(name).c_str());
}

std::string image_text(std::span<const std::byte> encoded) {
  try {
    const RgbImage image = decode_image(encoded);
    return format("%d x %d", image.width, image.height);
  } catch (const Error& error) {
    return std::string("not decoded: ") + error.what();
  }
}

void inspect_dataset(const fs::path& path, const std::string& cache_dir) {
  const auto set = open_dataset({.path = path, .cache_dir = cache_dir, .write_beside_data = false});
  std::vector<std::int64_t> images(static_cast<std::size_t>(set->identities()));
  for (const std::int32_t label : set->labels()) ++images[static_cast<std::size_t>(label)];
  std::ranges::sort(images);
  std::vector<std::byte> scratch;
  std::cout << path.string() << ": " << counted(set->size(), "image") << " of "
            << counted(set->identities(), "identity") << "\n"
            << "  images of each identity: " << grouped(images.front()) << " to "
            << grouped(images.back()) << ", median " << grouped(images[images.size() / 2]) << "\n"
            << "  left out because they did not decode earlier: "
            << grouped(set->summary().images_excluded)
            << (set->summary().passed_over.empty() ? "" : "\n  passed over: ")
            << set->summary().passed_over << "\n  first image: key " << set->key(0) << ", "
            << image_text(set->image(0, scratch)) << "\n";
}

void inspect_verification_set(const fs::path& path) {
  const VerificationSet set = VerificationSet::open(path);
  std::int64_t same = 0;
  for (std::int64_t p = 0; p < set.pairs(); ++p) same += set.same(p) ? 1 : 0;
  std::cout << path.string() << ": verification set, " << counted(set.pairs(), "pair") << ", "
            << grouped(same) << " of one person, " << grouped(set.pairs() - same) << " of two\n"
            << "  first image: " << image_text(set.image(0)) << "\n";
}

/// Prints a row for each file. Returns whether all are unchanged.
bool check_files(const fs::path& folder, const Manifest& manifest) {
  bool whole = true;
  for (const auto& [name, sums] : manifest.files) {
    std::cout << format("  %-36s %10s  ", name.c_str(),
                        size_text(static_cast<std::int64_t>(sums.bytes)).c_str())
              << std::flush;
    try {
      CheckedFile(folder / name, sums).verify();
      std::cout << "whole\n";
    } catch (const IoError&) {  // the file may be fine
      throw;
    } catch (const Error& error) {
      std::cout << "NOT WHOLE: " << error.what() << "\n";
      whole = false;
    }
  }
  return whole;
}

/// " 0.9125", or " 1 2 3".
std::string text_of(const SavedNumbers& numbers) {
  std::ostringstream text;
  std::visit(
      [&](const auto& list) {
        for (const auto number : list) text << ' ' << number;
      },
      numbers);
  return text.str();
}

void inspect_checkpoint(const fs::path& folder) {
  const fs::path file = folder / kManifest;
  const Manifest manifest = parse_manifest(read_file(file), file.string());
  std::cout << folder.string() << ": checkpoint after step " << grouped(manifest.step)
            << ", saved by " << counted(manifest.world, "rank")
            << "\n  set: " << counted(manifest.images, "image") << " of "
            << counted(manifest.identities, "identity") << ", "
            << grouped(std::ssize(manifest.excluded)) << " left out at the start\n  seed "
            << manifest.seed << "\n";
  for (const auto& [name, numbers] : manifest.state)
    std::cout << "  " << name << text_of(numbers) << "\n";
  const bool whole = check_files(folder, manifest);
  std::cout << "\nconfig:\n" << manifest.config;
  if (!whole)
    throw Error(folder.string() + ": is damaged; --resume would take the checkpoint before it");
}

void inspect_npy(const fs::path& path) {
  const NpyMatrix matrix(path);
  std::cout << path.string() << ": NumPy, " << counted(matrix.rows(), "row") << " of "
            << counted(matrix.columns(), "number") << "\n";
}

/// For kinds that no command reads, and kinds of which only the kind is printed.
void inspect_other(const fs::path& path, const FileKind& kind) {
  std::cout << path.string() << ": " << kind.words << "\n";
  if (!kind.advice.empty()) std::cout << "  " << kind.advice << "\n";
}

void inspect_file(const fs::path& path, const std::string& cache_dir) {
  const MappedFile file(path);
  const FileKind kind = recognise_file(file.bytes());
  switch (kind.format) {
    case FileFormat::kTorch:
    case FileFormat::kOldTorch:
      return inspect_torch(path);
    case FileFormat::kSafetensors:
      return inspect_safetensors(path);
    case FileFormat::kOnnx:
      return inspect_onnx(path);
    case FileFormat::kRecords:
      return inspect_dataset(path, cache_dir);
    case FileFormat::kNpy:
      return inspect_npy(path);
    case FileFormat::kPickle:
      return inspect_verification_set(path);
    case FileFormat::kImage:
      std::cout << path.string() << ": " << kind.words << ", " << image_text(file.bytes()) << "\n";
      return;
    case FileFormat::kText:
    case FileFormat::kOther:
      return inspect_other(path, kind);
    case FileFormat::kUnknown:
      refuse_kind(path.string(), file.bytes(), kKinds);
  }
}

/// The files of tensors directly in a folder, as `pfc convert` writes them.
std::vector<fs::path> tensor_files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".safetensors" || extension == ".pth" || extension == ".pt")
      files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

void inspect(const fs::path& path, const std::string& cache_dir) {
  if (!fs::is_directory(path)) return inspect_file(path, cache_dir);
  if (fs::exists(path / kManifest)) return inspect_checkpoint(path);
  if (!fs::is_directory(path / "checkpoints")) {
    const std::vector<fs::path> tensors = tensor_files_in(path);
    for (const fs::path& file : tensors) inspect_file(file, cache_dir);
    if (tensors.empty()) inspect_dataset(path, cache_dir);
    return;
  }
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path / "checkpoints"))
    if (fs::exists(entry.path() / kManifest)) found.push_back(entry.path());
  std::ranges::sort(found);
  std::cout << path.string() << ": output of a run, " << counted(std::ssize(found), "checkpoint")
            << "\n";
  for (const fs::path& folder : found) std::cout << "  " << folder.string() << "\n";
}

struct InspectCommand {
  std::string path, cache_dir;
};

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand("inspect", "Show what a file or a checkpoint holds");
  const auto options = std::make_shared<InspectCommand>();
  command->add_option("PATH", options->path, std::string("What to look at: ") + kKinds)
      ->required()
      ->type_name("PATH");
  command
      ->add_option("--cache-dir", options->cache_dir,
                   "The folder for the index of a .rec; by default no index is written")
      ->type_name("FOLDER");
  command->footer(
      "Examples:\n"
      "  pfc inspect output/faces_tiny/checkpoints/step-000001200\n"
      "  pfc inspect backbone.pth\n"
      "  pfc inspect train.rec\n"
      "Every byte of a checkpoint is compared with its checksums. Exits with 1 if one is damaged.");
  command->callback([options] { inspect(options->path, options->cache_dir); });
}

}  // namespace pfc
