#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "commands.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"
#include "pfc/train/torch_centers.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct ConvertCommand {
  std::string in, out, network;
  bool bgr = false;
};

SavedBackbone open_network(const fs::path& path, const ConvertCommand& command) {
  SavedBackbone saved = open_backbone(path, command.network);
  if (command.bgr) swap_red_and_blue(*saved.backbone);
  saved.backbone->merge_low_rank();
  return saved;
}

enum class Kind { kPyTorch, kSafetensors };

Kind kind_of(const fs::path& out) {
  const std::string extension = out.extension().string();
  if (extension == ".pth" || extension == ".pt") return Kind::kPyTorch;
  if (extension == ".safetensors") return Kind::kSafetensors;
  throw UsageError("OUT wants a name that ends in .safetensors, .pth or .pt, found \"" +
                   out.string() + "\"");
}

/// "r18 of embedding size 512, 187 tensors, 96.3 MB"
std::string describe(const SavedBackbone& saved) {
  std::int64_t tensors = 0, bytes = 0;
  const auto count = [&](const std::vector<at::Tensor>& some) {
    tensors += std::ssize(some);
    for (const at::Tensor& tensor : some) bytes += static_cast<std::int64_t>(tensor.nbytes());
  };
  count(saved.backbone->parameters());
  count(saved.backbone->buffers());
  return saved.name.network + " of embedding size " + std::to_string(saved.name.embedding_size) +
         ", " + counted(tensors, "tensor") + ", " + size_text(bytes);
}

void convert_backbone(const ConvertCommand& command) {
  const Kind kind = kind_of(command.out);
  require_writable(command.out);
  const SavedBackbone saved = open_network(command.in, command);
  if (!saved.left_out.empty()) tell(saved.left_out);
  if (kind == Kind::kPyTorch) {
    save_state_dict(*saved.backbone, command.out);
  } else {
    save_backbone(*saved.backbone, saved.name.network, saved.name.embedding_size, command.out);
  }
  print_text(command.out + ": " + describe(saved) + "\n", {command.out});
}

void convert_folder(const ConvertCommand& command) {
  require_writable_folder(command.out);
  const TorchCenters centers = find_torch_centers(command.in);
  fs::create_directories(command.out);
  std::string backbone;
  if (!centers.backbone.empty()) {
    const SavedBackbone saved = open_network(centers.backbone, command);
    save_backbone(*saved.backbone, saved.name.network, saved.name.embedding_size,
                  fs::path(command.out) / "backbone.safetensors");
    backbone = "; " + describe(saved);
  }
  convert_centers(centers, command.out);
  const std::int64_t bytes = centers.classes * centers.dim * std::int64_t{sizeof(float)};
  std::cout << command.out << ": " << counted(centers.classes, "class centre") << " of size "
            << centers.dim << " in " << counted(std::ssize(centers.files), "file") << ", "
            << size_text(bytes) << backbone << "\n";
}

void run_convert(const ConvertCommand& command) {
  require_other(command.in, command.out);
  if (fs::is_directory(command.in)) return convert_folder(command);
  convert_backbone(command);
}

}  // namespace

void add_convert(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "convert", "Convert networks of PyTorch's files and ONNX to ours, and back to PyTorch's");
  const auto options = std::make_shared<ConvertCommand>();
  command
      ->add_option("IN", options->in,
                   "A backbone: .safetensors, .pth or .onnx; or a folder of class centres, one "
                   "file for each "
                   "rank")
      ->required()
      ->type_name("PATH");
  command
      ->add_option("OUT", options->out,
                   "The result: .safetensors or .pth; or a folder. An existing one is replaced")
      ->required()
      ->type_name("PATH");
  command
      ->add_option(
          "--network", options->network,
          "The network's name, if the tensors of a .pth do not tell it; a name as in model.network")
      ->check(CLI::IsMember(backbone_names()))
      ->type_name("NAME");
  command->add_flag("--bgr", options->bgr,
                    "The network of IN wants its pixels as blue, green, red, as AdaFace's do; that "
                    "of OUT wants them as red, green, blue, as all networks here. Or back");
  command->footer(
      "Examples:\n"
      "  pfc convert backbone.pth r50.safetensors\n"
      "  pfc convert w600k_r50.onnx r50.safetensors\n"
      "  pfc convert --bgr adaface_ir50_ms1mv2.ckpt ir_50.safetensors\n"
      "  pfc convert output/best.safetensors backbone.pth\n"
      "  pfc convert work_dirs/glint360k_r50 glint360k_r50\n"
      "An .onnx holds an iResNet or a MobileFaceNet, as any exporter writes it.\n"
      "A folder has rank_R_softmax_weight.pt or checkpoint_gpu_R.pt of every rank R. The result "
      "has\n"
      "one file of centres for each rank, and backbone.safetensors if the folder has the network.");
  command->callback([options] { run_convert(*options); });
}

}  // namespace pfc
